"""The chart's values: what is refused and how, and that schema, values and README speak of the same ones."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from textwrap import dedent
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import pytest
import yaml
from pydantic import BaseModel

from checks.registry import CHECKS
from monitor.config import load
from monitor.config.model import File, Reference
from tests.helm.engine import CHART, Engine, Object, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

README = (CHART / "README.md").read_text("utf-8")
SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
FREE = {"requests", "limits"}  # Kubernetes' own, and not each a value of ours
IN_CLEAR = "hunter2-in-clear"


def changed(values: Object, path: str, value: Any) -> Object:
    """The values with another one at a dotted path."""
    copy = deepcopy(values)
    *way, last = path.split(".")
    place = copy
    for step in way:
        place = place.setdefault(step, {})
    place[last] = value
    return copy


def test_a_bare_install_says_what_is_needed(helm: Engine) -> None:
    """Without values Helm names every value that has to be given."""
    with pytest.raises(RefusedError) as refused:
        helm.render({})
    assert "at '/config': missing properties 'tenants', 'apps'" in str(refused.value)
    assert "at '/image/repository': minLength: got 0, want 1" in str(refused.value)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("replicas", 2, "additional properties 'replicas' not allowed"),
        ("config.store", "sqlite:x.db", "at '/config': additional properties 'store' not allowed"),
        ("config.web", {"listen": "127.0.0.1:1"}, "at '/config': additional properties 'web' not allowed"),
        ("config.mailboxs", {}, "at '/config': additional properties 'mailboxs' not allowed"),
        ("config.apps", {}, "at '/config/apps': minProperties: got 0, want 1"),
        ("config.apps.billing-mailer", {}, "at '/config/apps/billing-mailer': missing property 'credential'"),
        ("config.alerts.channels.chat", {}, "at '/config/alerts/channels/chat': missing property 'url'"),
        ("image.digest", "sha256:1", "at '/image/digest': 'sha256:1' does not match pattern"),
        ("image.pullPolicy", "Sometimes", "at '/image/pullPolicy': value must be one of 'Always',"),
        ("imagePullSecrets", ["registry"], "at '/imagePullSecrets/0': got string, want object"),
        ("extraEnvFrom", {"secretRef": {}}, "at '/extraEnvFrom': got object, want array"),
        ("persistence.accessModes", ["ReadWriteMany"], "at '/persistence/accessModes/0': value must be one of"),
        ("persistence.claim", "old", "at '/persistence': additional properties 'claim' not allowed"),
        ("service.port", 0, "at '/service/port': minimum: got 0, want 1"),
        ("service.port", "http", "at '/service/port': got string, want integer"),
        ("listenAddress", "127.0.0.1", "at '/listenAddress': value must be one of '0.0.0.0', '[::]'"),
        ("serviceMonitor.interval", "30", "at '/serviceMonitor/interval': '30' does not match pattern"),
        ("livenessProbe.httpGet", {}, "at '/livenessProbe': additional properties 'httpGet' not allowed"),
        ("livenessProbe.successThreshold", 2, "at '/livenessProbe/successThreshold': value must be 1"),
        ("terminationGracePeriodSeconds", 10, "at '/terminationGracePeriodSeconds': minimum: got 10, want 15"),
        ("podLabels.tier", 1, "at '/podLabels/tier': got number, want string"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(
    helm: Engine, default: Object, path: str, value: object, message: str
) -> None:
    """Helm says where a wrong value stands and what is wrong with it, and renders nothing."""
    with pytest.raises(RefusedError) as refused:
        helm.render(changed(default, path, value))
    assert message in str(refused.value)


def places_of_references(part: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Where the model of the configuration has references to secrets; a name that the user chooses is NAME."""
    for field, hint in get_type_hints(part, include_extras=True).items():
        if field in part.model_fields:
            yield from _inside(hint, (*path, field))


def _inside(hint: Any, path: tuple[str, ...]) -> Iterator[str]:
    if hint == Reference:
        yield ".".join(path)
    elif isinstance(hint, type) and issubclass(hint, BaseModel):
        yield from places_of_references(hint, path)
    else:
        named = getattr(hint, "__origin__", None) is dict
        for argument in get_args(hint):
            yield from _inside(argument, (*path, "NAME") if named else path)


REFERENCES = (
    "apps.NAME.credential.secret",
    "apps.NAME.credential.certificate.passphrase",
    "apps.NAME.credential.refresh_token.secret",
    "alerts.channels.NAME.url",
    "inboxes.NAME.password",
    "network.proxy",
)


def test_every_place_of_a_secret_is_known() -> None:
    """The places that the chart looks at are all that the model of the configuration has."""
    assert sorted(REFERENCES) == sorted(places_of_references(File))


@pytest.mark.parametrize("value", [IN_CLEAR, "env:", f"enw:{IN_CLEAR}", 4711, {"key": IN_CLEAR}, ""])
@pytest.mark.parametrize("place", REFERENCES)
def test_a_secret_in_the_values_is_refused_and_not_repeated(
    helm: Engine, default: Object, place: str, value: object
) -> None:
    """What is no reference does not get into the ConfigMap; the message has its place, and not the secret."""
    path = f"config.{place.replace('NAME', 'billing-mailer')}"
    with pytest.raises(RefusedError) as refused:
        helm.render(changed(default, path, value))
    message = str(refused.value)
    assert "expected a reference (env:NAME, file:PATH or cmd:COMMAND)" in message
    assert f": {path}" in message
    assert IN_CLEAR not in message
    assert "4711" not in message


@pytest.mark.parametrize("value", ["env:BILLING", "file:/run/secrets/x", "cmd:/usr/bin/pass show 'a: b' <x>"])
@pytest.mark.parametrize("place", REFERENCES)
def test_a_reference_arrives_as_it_is(helm: Engine, default: Object, place: str, value: str) -> None:
    """Each kind of reference is in the configuration, character by character."""
    path = place.replace("NAME", "billing-mailer")
    found: Any = yaml.safe_load(helm.render(changed(default, f"config.{path}", value)).configuration)
    for step in path.split("."):
        found = found[step]
    assert value == found


def test_the_schema_knows_the_parts_of_the_configuration() -> None:
    """A part that mailcanary has can be given, except those that the chart sets."""
    assert File.model_fields.keys() - {"store", "web"} == SCHEMA["properties"]["config"]["properties"].keys()


def closed(schema: Object, values: Object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str], set[str]]]:
    """Each closed object of the schema: its path, its keys in the schema, and in the values."""
    if schema.get("additionalProperties") is False:
        yield ".".join(path), set(schema["properties"]), set(values)
        for key, inner in schema["properties"].items():
            if isinstance(values.get(key), dict) and key != "config":
                yield from closed(inner, values[key], (*path, key))


def test_values_and_schema_have_the_same_keys() -> None:
    """No value is unknown to the schema, and none of the schema's is missing in values.yaml with its comment."""
    for path, in_schema, in_values in closed(SCHEMA, VALUES):
        free = {"global"} if not path else {"initialDelaySeconds", "successThreshold"} if "Probe" in path else set()
        assert in_schema - free == in_values, path


def leaves(values: Object, path: str = "") -> Iterator[str]:
    """The dotted paths of all values that a user would set."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in FREE | {"config"}:
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def test_the_readme_names_every_value() -> None:
    """Its table has a row for each value of values.yaml, or for the whole that it is a part of, and no others."""
    table = README.partition("\n## Values\n")[2].partition("\n## ")[0]
    named = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`([\w.]+)`", row.split("|")[1:2][0] if "|" in row else "")
    }
    every = set(leaves(VALUES))
    assert {one for one in every if not named & {one, one.partition(".")[0]}} == set()
    assert {one for one in named if not any(known == one or known.startswith(f"{one}.") for known in every)} == set()


def test_the_readme_can_be_followed(helm: Engine, tmp_path: Path) -> None:
    """Its values render, also with its certificate, and mailcanary accepts the configuration; its files are there."""
    blocks = re.findall(r"^ *```yaml\n(.*?)```", README, re.DOTALL | re.MULTILINE)
    first, more = (yaml.safe_load(dedent(block)) for block in blocks)
    written = tmp_path / "mailcanary.yaml"
    written.write_text(helm.render(first).configuration, "utf-8")
    assert ["billing"] == [*load(written, CHECKS, secrets=False).mailboxes]
    app = {**first["config"]["apps"]["billing-mailer"], **more["config"]["apps"]["hr-portal"]}
    first["config"]["apps"]["hr-portal"] = app
    rendered = helm.render(
        {**first, "extraVolumes": more["extraVolumes"], "extraVolumeMounts": more["extraVolumeMounts"]}
    )
    (mount,) = (one for one in rendered.container["volumeMounts"] if one["name"] == "hr")
    assert app["credential"]["certificate"]["file"].startswith(f"{mount['mountPath']}/")
    for name in ("requirements.lock", "helm/mailcanary"):
        assert name in README
        assert (CHART.parents[1] / name).exists()


def test_the_full_values_set_every_value() -> None:
    """The file that is to try everything leaves nothing out."""
    full = yaml.safe_load((CHART / "ci" / "full-values.yaml").read_text("utf-8"))
    assert VALUES.keys() == full.keys()
    for key in ("image", "persistence", "service", "serviceMonitor", "serviceAccount"):
        assert VALUES[key].keys() == full[key].keys()
