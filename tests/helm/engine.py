"""Helm's own engine, in a process of its own: Go's runtime with its threads and signal handlers comes with it."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.daemon.process import bare_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

CHART = Path(__file__).parents[2] / "helm" / "mailcanary"
Object = dict[str, Any]


class RefusedError(Exception):
    """Helm does not render this; the text is what it tells the user."""


@dataclass(frozen=True)
class Rendered:
    """What Helm would send to the cluster, by kind, what it would say, and the objects as text."""

    objects: dict[str, Object]
    notes: str
    text: str

    @property
    def pod(self) -> Object:
        """The pod's template."""
        template: Object = self.objects["StatefulSet"]["spec"]["template"]
        return template

    @property
    def container(self) -> Object:
        """The only container."""
        (only,) = self.pod["spec"]["containers"]
        found: Object = only
        return found

    @property
    def configuration(self) -> str:
        """The file that the daemon reads."""
        (content,) = self.objects["ConfigMap"]["data"].values()
        text: str = content
        return text


class Engine:
    """The running engine."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def render(self, values: Object, *, chart: Path = CHART, name: str = "canary") -> Rendered:
        """Render a release of a chart. Raises RefusedError."""
        files = self._ask("render", chart, values, name)
        notes = files.pop("mailcanary/templates/NOTES.txt")
        text = "---\n".join(f"{written.strip()}\n" for _, written in sorted(files.items()) if written.strip())
        objects = list(yaml.safe_load_all(text))
        by_kind = {one["kind"]: one for one in objects}
        assert len(by_kind) == len(objects)
        return Rendered(by_kind, notes, text)

    def lint(self, values: Object) -> list[Object]:
        """What Helm's linter finds in the chart."""
        found: list[Object] = self._ask("lint", CHART, values, "")["messages"]
        return found

    def _ask(self, what: str, chart: Path, values: Object, name: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # JSON is YAML that Python and Go read alike; of a bare 0815 one makes text and the other a number.
        written = json.dumps(values, ensure_ascii=False, default=str)
        question = {"what": what, "chart": str(chart), "values": written, "name": name}
        self._process.stdin.write(f"{json.dumps(question)}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            raise RefusedError(answer["refused"])
        return answer["answer"]


@contextmanager
def running_engine() -> Iterator[Engine]:
    """An engine while the block lasts."""
    command = [sys.executable, "-m", "tests.helm.engine"]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bare_environment()
    ) as process:
        yield Engine(process)
        assert process.stdin is not None
        process.stdin.close()


def main() -> None:
    """Answer questions, one a line, to the end of stdin."""
    import helm_python

    for line in sys.stdin:
        question = json.loads(line)
        try:
            values = helm_python.values_from_yaml(question["values"])
            if question["what"] == "lint":
                answer = helm_python.lint(question["chart"], values, strict=True)
            else:
                with helm_python.Chart.load(question["chart"]) as chart:
                    answer = chart.render(values, name=question["name"], namespace="monitoring")
            said: Object = {"answer": answer}
        except helm_python.HelmError as error:
            said = {"refused": str(error)}
        sys.stdout.write(f"{json.dumps(said)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
