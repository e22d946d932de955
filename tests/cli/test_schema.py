"""`mailcanary schema`: what an editor is told agrees with what the program takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from checks.registry import CHECKS
from monitor.cli.main import cli
from monitor.cli.schema import schema_text
from monitor.config import load
from monitor.config.model import File

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
INVALID = GOLDEN / "cli" / "invalid"
EXAMPLE = GOLDEN / "config" / "example.yaml"
SCHEMA = json.loads(schema_text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)

# What is wrong beyond the shape: names of nothing, files, secrets, two values beside each other, YAML itself.
BEYOND = {
    "alert-channel-unknown",
    "app-tenant-unknown",
    "check-recipient-unknown",
    "check-timeout-too-long",
    "cloud-ca-file-missing",
    "fleet-missing",
    "group-unknown",
    "key-is-no-text",
    "key-of-a-kind-twice",
    "mailbox-app-unknown",
    "mailbox-smtp-unknown",
    "network-ehlo-name",
    "privacy-retention-short",
    "several",
    "tenant-cloud-unknown",
    "web-port",
}
BEYOND_BY_KIND = ("alias", "certificate-", "merge", "secret-", "yaml-")
OF_SHAPE = {"certificate-passphrase-in-clear", "secret-in-clear"}


class Text(yaml.SafeLoader):
    """YAML as editors read it: a date is text."""


Text.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def wrong(text: str) -> list[str]:
    """What the schema finds wrong with a file."""
    return [error.message for error in VALIDATOR.iter_errors(yaml.load(text, Text))]  # noqa: S506 - a SafeLoader


def test_it_is_a_schema_and_as_published() -> None:
    """The command prints it, the dialect accepts it, and docs/config.schema.json has the same."""
    done = CliRunner().invoke(cli, ["schema"])
    assert 0 == done.exit_code
    Draft202012Validator.check_schema(json.loads(done.stdout))
    published = ROOT.joinpath("docs", "config.schema.json").read_text("utf-8")
    assert published == done.stdout, "write it anew: mailcanary schema > docs/config.schema.json"


def test_the_example_has_every_section_and_is_good(tmp_path: Path) -> None:
    """To an editor and to the program, beside the files that it names."""
    text = EXAMPLE.read_text()
    assert [] == wrong(text)
    assert File.model_fields.keys() == yaml.load(text, Text).keys()  # noqa: S506 - a SafeLoader
    (tmp_path / "c.yaml").write_text(text)
    (tmp_path / "ca.pem").touch()
    (tmp_path / "fleet.csv").write_text("id,address,app\ninvoices,invoices@contoso.example,billing-mailer\n")
    (tmp_path / "fleet.yaml").write_text("hr: {address: hr@contoso.example, app: hr-portal}\n")
    configuration = load(tmp_path / "c.yaml", CHECKS, secrets=False)
    assert ["billing", "payslips", "bulk", "invoices", "hr"] == list(configuration.mailboxes)


def test_what_the_readme_shows_is_good() -> None:
    """Every piece of YAML in it."""
    pieces = re.findall(r"^```yaml\n(.+?)^```", ROOT.joinpath("README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert pieces
    for piece in pieces:
        assert [] == wrong(piece)


def shape_is_wrong(name: str) -> bool:
    """Whether a wrong file is one by its shape."""
    return name in OF_SHAPE or (name not in BEYOND and not name.startswith(BEYOND_BY_KIND))


@pytest.mark.parametrize("name", [path.stem for path in sorted(INVALID.glob("*.yaml")) if shape_is_wrong(path.stem)])
def test_a_mistake_of_shape_is_found(name: str) -> None:
    """Each wrong file whose shape is wrong is found wrong by an editor too."""
    assert wrong((INVALID / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", sorted(BEYOND))
def test_what_is_beyond_the_shape_is_left_to_validate(name: str) -> None:
    """A file that is only wrong beyond its shape passes: if it were found, it would belong above."""
    assert [] == wrong((INVALID / f"{name}.yaml").read_text())


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ("mailboxes.billing.checks.canary.to", False),
        ("mailboxes.billing.checks.token", False),
        ("groups.payroll.checks.endpoint", False),
        ("defaults.checks.endpoint", True),
        ("defaults.importance.critical.checks.token", False),
    ],
)
def test_checks_are_known_where_they_may_stand(change: str, *, known: bool) -> None:
    """A mailbox and a group speak of checks of mailboxes, the defaults of all; `to` holds names."""
    content = yaml.load(EXAMPLE.read_text(), Text)  # noqa: S506 - a SafeLoader
    *path, last = change.split(".")
    part = content
    for step in path:
        part = part[step]
    part[last] = {"interval": "5m"} if last != "to" else ["canary@contoso.example"]
    assert known is not bool(list(VALIDATOR.iter_errors(content)))


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema in a schema."""
    if isinstance(schema, dict):
        yield schema
    for below in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts(below)


def described(schema: dict[str, Any]) -> bool:
    """Whether it says what it is, itself or by what it refers to."""
    _, _, name = schema.get("$ref", "").rpartition("/")
    return bool(schema.get("description") or SCHEMA["$defs"].get(name, {}).get("description"))


def test_every_key_is_described() -> None:
    """Each key of each part of the file says what it is; of checks, at least what the check does and what it is set by."""
    for name, part in {**SCHEMA["$defs"], "the file": SCHEMA}.items():
        assert described(part), name
        keys = {} if name.startswith("check:") else part.get("properties", {})
        assert not [key for key, below in keys.items() if not described(below)], name


def test_the_words_are_those_of_the_file() -> None:
    """Durations are text, with defaults as one writes them; nothing is null; nothing of Python is left."""
    durations = [part for part in parts(SCHEMA) if str(part.get("pattern", "")).endswith("(s|m|h|d)$")]
    assert {"5m", "1h", "4h", "30d"} <= {part.get("default") for part in durations}
    assert all(isinstance(part.get("default", ""), str) for part in durations)
    text = json.dumps(SCHEMA)
    assert not [word for word in ('"null"', '": null', "patternProperties", "Optional", "pydantic") if word in text]
    assert {check.name for check in CHECKS.values()} == set(
        SCHEMA["$defs"]["Defaults"]["properties"]["checks"]["properties"]
    )
