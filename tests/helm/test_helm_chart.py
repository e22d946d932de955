"""What the chart renders: valid for Kubernetes, good for mailcanary, restricted, and stable where it has to be."""

from __future__ import annotations

import re
import shutil
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from checks.registry import CHECKS
from monitor.cli.main import cli
from monitor.config import Configuration, load
from tests.helm.engine import CHART, Engine, Object, Rendered

ROOT = CHART.parents[1]
GOLDEN = ROOT / "tests" / "golden" / "helm"
KUBERNETES = ("1.25", "1.37")  # the oldest that Chart.yaml allows, and the newest that there are schemas of


def chart_yaml() -> Object:
    """The chart's description of itself."""
    content: Object = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    return content


def loaded(rendered: Rendered, folder: Path) -> Configuration:
    """The rendered configuration, read by the loader of `mailcanary validate --without-secrets`."""
    file = folder / "mailcanary.yaml"
    file.write_text(rendered.configuration, "utf-8")
    return load(file, CHECKS, secrets=False)


def mounts(rendered: Rendered) -> Object:
    """Where each volume is mounted."""
    return {mount["name"]: mount for mount in rendered.container["volumeMounts"]}


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_every_object(rendered: Rendered, version: str) -> None:
    """Each object fits the strict schema of its kind, in the oldest Kubernetes that is supported and in the newest."""
    kinds = set(rendered.objects) - {"ServiceMonitor"}
    assert {"ConfigMap", "Service", "ServiceAccount", "StatefulSet"} == kinds
    for kind in kinds:
        kubernetes_validate.validate(rendered.objects[kind], version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_those_schemas_refuse_what_kubernetes_does_not_know(rendered: Rendered, version: str) -> None:
    """A misspelt field of a container is an error of the schemas that the objects are held against."""
    rendered.container["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(rendered.objects["StatefulSet"], version, strict=True)


def test_the_oldest_kubernetes_is_that_of_the_chart() -> None:
    """What Chart.yaml allows is what is tried."""
    assert f">={KUBERNETES[0]}.0-0" == chart_yaml()["kubeVersion"]


def test_helm_has_nothing_to_say_against_it(helm: Engine, values: Object) -> None:
    """Helm's strict linter finds nothing but that there is no icon."""
    assert ["icon is recommended"] == [found["error"] for found in helm.lint(values)]


def test_mailcanary_accepts_the_configuration(rendered: Rendered, values: Object, tmp_path: Path) -> None:
    """The loader takes what is in the ConfigMap, and all that the values say is in it."""
    configuration = loaded(rendered, tmp_path)
    assert values["config"]["apps"].keys() == configuration.apps.keys()
    assert set(values["config"]["mailboxes"]) == set(configuration.mailboxes)
    written = yaml.safe_load(rendered.configuration)
    declared = [one["credential"].pop("expires", None) for one in values["config"]["apps"].values()]
    assert [str(one) for one in declared if one] == [
        one["credential"].pop("expires") for one in written["apps"].values() if "expires" in one["credential"]
    ]
    assert values["config"] == {key: value for key, value in written.items() if key not in {"store", "web"}}


AWKWARD = (
    *("", "0815", "010", "12:30", "1e3", "0x1F", "1_000", ".5", ".inf", "2031-01-31", "yes", "off", "y", "null", "~"),
    *(
        "# x",
        "a: b",
        "a:",
        "- x",
        "?",
        "{x}",
        "[x]",
        "*x",
        "&x",
        "!x",
        "%x",
        "@x",
        "`x",
        "|",
        ">",
        "'",
        '"',
        "\\",
        "{{ x }}",
    ),
    *(" x ", "\t", "x\n", "\n\n x\n\n", "---", "...", "\u00fc\u00df \U0001f426", "x" * 300 + " y" * 99),
)


@pytest.mark.parametrize("text", AWKWARD)
def test_text_stays_as_it_is(helm: Engine, default: Object, text: str) -> None:
    """What looks like something else in YAML, in that of Go or that of Python, arrives as the text it was."""
    default["config"]["apps"]["billing-mailer"]["owner"] = {"contact": text}
    written = yaml.safe_load(helm.render(default).configuration)
    assert text == written["apps"]["billing-mailer"]["owner"]["contact"]


def test_the_store_is_in_the_volume(rendered: Rendered, tmp_path: Path) -> None:
    """The store's file lies in the volume that is claimed, which can be written to."""
    (claim,) = rendered.objects["StatefulSet"]["spec"]["volumeClaimTemplates"]
    mount = mounts(rendered)[claim["metadata"]["name"]]
    place = loaded(rendered, tmp_path).store_url.removeprefix("sqlite:///")
    assert Path(mount["mountPath"]) == Path(place).parent
    assert not mount.get("readOnly")


def test_without_persistence_the_store_is_still_in_a_volume(helm: Engine, default: Object) -> None:
    """The root file system is read-only, so that an empty volume takes the place of the claimed one."""
    rendered = helm.render({**default, "persistence": {"enabled": False}})
    assert "volumeClaimTemplates" not in rendered.objects["StatefulSet"]["spec"]
    assert {"name": "data", "emptyDir": {}} in rendered.pod["spec"]["volumes"]
    assert "/var/lib/mailcanary" == mounts(rendered)["data"]["mountPath"]


def test_the_command_is_the_daemons(rendered: Rendered) -> None:
    """The command is an entry point of the distribution; its arguments are those of `run`, with the mounted file."""
    (command,) = rendered.container["command"]
    (entry,) = entry_points(group="console_scripts", name=command)
    assert "monitor.cli.main:main" == entry.value
    name, *arguments = rendered.container["args"]
    given = cli.commands[name].make_context(name, arguments).params
    (key,) = rendered.objects["ConfigMap"]["data"]
    assert {"file": Path(mounts(rendered)["config"]["mountPath"]) / key, "events": "json"} == given


def test_what_is_asked_is_where_the_daemon_listens(rendered: Rendered, values: Object, tmp_path: Path) -> None:
    """Probes and Service lead to the port of web.listen, which is open to others than the pod itself."""
    (port,) = rendered.container["ports"]
    host, listens = loaded(rendered, tmp_path).listen
    assert port["containerPort"] == listens
    assert values.get("listenAddress", "0.0.0.0").strip("[]") == host
    probes = {name: rendered.container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {
        "startup": {"path": "/-/healthy", "port": port["name"]},
        "liveness": {"path": "/-/healthy", "port": port["name"]},
        "readiness": {"path": "/-/ready", "port": port["name"]},
    } == probes
    (served,) = rendered.objects["Service"]["spec"]["ports"]
    assert ("http", port["name"]) == (served["name"], served["targetPort"])


def test_the_service_finds_the_pod(rendered: Rendered) -> None:
    """The labels that the Service and the StatefulSet ask for are those of the pod."""
    labels = rendered.pod["metadata"]["labels"].items()
    assert rendered.objects["Service"]["spec"]["selector"].items() <= labels
    assert rendered.objects["StatefulSet"]["spec"]["selector"]["matchLabels"].items() <= labels


def test_prometheus_finds_the_service(helm: Engine, default: Object) -> None:
    """The ServiceMonitor, when it is wanted, names the Service's labels and its port, and carries the labels given."""
    assert "ServiceMonitor" not in helm.render(default).objects
    rendered = helm.render({**default, "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}})
    monitor, service = rendered.objects["ServiceMonitor"], rendered.objects["Service"]
    assert "prometheus" == monitor["metadata"]["labels"]["release"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    assert [{"port": port["name"], "path": "/metrics", "interval": "30s", "scrapeTimeout": "10s"}] == monitor["spec"][
        "endpoints"
    ]


def test_the_pod_is_restricted(rendered: Rendered) -> None:
    """Not root, nothing to gain, nothing to write but volumes, no capability, seccomp, and no way into the cluster's API."""
    pod, container = rendered.pod["spec"], rendered.container["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert all(pod["securityContext"][key] > 0 for key in ("runAsUser", "runAsGroup", "fsGroup"))
    assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
    assert not container["allowPrivilegeEscalation"]
    assert container["readOnlyRootFilesystem"]
    assert {"drop": ["ALL"]} == container["capabilities"]
    assert not pod["automountServiceAccountToken"]
    assert not rendered.objects["ServiceAccount"]["automountServiceAccountToken"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "secret", "emptyDir"}  # those of the level "restricted" that are used here


def test_the_user_can_be_left_to_the_cluster(helm: Engine, default: Object) -> None:
    """Where the cluster gives each namespace its users, as OpenShift does, null takes ours away and leaves the rest."""
    ours = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"))
    context = helm.render({**default, "podSecurityContext": ours}).pod["spec"]["securityContext"]
    assert {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"} == context.keys()


def test_no_secret_is_rendered(rendered: Rendered) -> None:
    """There is no object for secrets; every variable comes from a Secret, and the configuration has references only."""
    assert "Secret" not in rendered.objects
    assert all("secretKeyRef" in one["valueFrom"] for one in rendered.container.get("env", []))
    assert all("secretRef" in one for one in rendered.container["envFrom"])
    found = re.findall(r"(?:secret|passphrase|url): (.*)", rendered.configuration)
    assert found
    assert all(re.match(r"(env|file|cmd):", value) for value in found)


def test_there_is_one_pod_and_time_to_stop(helm: Engine, default: Object) -> None:
    """One replica, a correction that gets past a pod that is not ready, and more than the ten seconds of a stop."""
    rendered = helm.render(default)
    spec = rendered.objects["StatefulSet"]["spec"]
    assert (1, "Parallel") == (spec["replicas"], spec["podManagementPolicy"])
    assert rendered.pod["spec"]["terminationGracePeriodSeconds"] >= 15


def released(folder: Path, version: str) -> Path:
    """The chart as it would be in another release."""
    chart = folder / version / "mailcanary"
    shutil.copytree(CHART, chart)
    written = {**chart_yaml(), "version": version, "appVersion": version}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(written), "utf-8")
    return chart


def lasting(rendered: Rendered) -> Any:
    """What Kubernetes lets nobody change, and what must not change on its own."""
    spec = rendered.objects["StatefulSet"]["spec"]
    changing = {"template", "replicas"}
    return (
        {key: value for key, value in spec.items() if key not in changing},
        rendered.objects["Service"]["spec"],
        rendered.pod["metadata"],
        {kind: one["metadata"]["name"] for kind, one in rendered.objects.items()},
    )


def test_a_new_version_changes_the_image_and_nothing_that_lasts(helm: Engine, default: Object, tmp_path: Path) -> None:
    """Selectors, claims and names are the same in two versions, which differ in the image and in the objects' labels."""
    old, new = (helm.render(default, chart=released(tmp_path, version)) for version in ("1.2.3", "2.0.0"))
    assert lasting(old) == lasting(new)
    images = [one.container["image"].rpartition(":")[2] for one in (old, new)]
    labels = [one.objects["Service"]["metadata"]["labels"]["app.kubernetes.io/version"] for one in (old, new)]
    assert ["1.2.3", "2.0.0"] == images == labels


def test_a_changed_configuration_restarts_the_pod(helm: Engine, default: Object) -> None:
    """The pod's checksum follows the configuration and nothing else."""

    def checksum() -> str:
        found: str = helm.render(default).pod["metadata"]["annotations"]["checksum/config"]
        return found

    before = checksum()
    default["commonLabels"] = {"team": "mail"}
    assert before == checksum()
    default["config"]["mailboxes"]["billing"]["importance"] = "critical"
    assert before != checksum()


def test_a_long_release_name_leaves_room(helm: Engine, default: Object) -> None:
    """With the longest name that Helm takes, the pods' label of their revision, 11 characters longer, fits into 63."""
    name = helm.render(default, name="a" * 51 + "-b").objects["StatefulSet"]["metadata"]["name"]
    assert "a" * 51 == name


def test_the_version_is_that_of_the_distribution(rendered: Rendered) -> None:
    """The chart's appVersion, which is the tag of the image where none is given, is the version in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == chart_yaml()["appVersion"]
    assert project["description"] == chart_yaml()["description"]
    if "@" not in rendered.container["image"]:
        assert rendered.container["image"].endswith(f"/mailcanary:{project['version']}")


def test_everything_together_reads_as_agreed(helm: Engine) -> None:
    """With every value set, the objects are those of the golden file, versions aside."""
    values = yaml.safe_load((CHART / "ci" / "full-values.yaml").read_text("utf-8"))
    text = helm.render(values).text
    for version in {chart_yaml()["version"], chart_yaml()["appVersion"]}:
        text = re.sub(rf"(version: |mailcanary-){re.escape(version)}$", r"\1VERSION", text, flags=re.MULTILINE)
    assert (GOLDEN / "full.yaml").read_text("utf-8") == text


def test_the_notes_say_what_is_missing(helm: Engine, default: Object) -> None:
    """Each warning comes when there is reason for it, and goes with it."""
    del default["extraEnvFrom"]
    notes = helm.render({**default, "persistence": {"enabled": False}}).notes
    assert "these environment variables: BILLING_SECRET\n" in notes
    for warning in ("nothing sets them", "there is no alert channel", "persistence is off"):
        assert f"WARNING: {warning}" in notes
    default["config"]["alerts"] = {"channels": {"chat": {"url": "env:CHAT_URL"}}}
    notes = helm.render({**default, "extraEnvFrom": [{"secretRef": {"name": "all"}}]}).notes
    assert "BILLING_SECRET, CHAT_URL" in notes
    assert "WARNING" not in notes


def test_the_commands_of_the_notes_are_right(rendered: Rendered) -> None:
    """What they name is there: the StatefulSet and its pod, the Service and its port, the command and its file."""
    name, service = rendered.objects["StatefulSet"]["metadata"]["name"], rendered.objects["Service"]
    port = service["spec"]["ports"][0]["port"]
    assert f"rollout status statefulset/{name}\n" in rendered.notes
    assert f"port-forward service/{service['metadata']['name']} 9925:{port}\n" in rendered.notes
    (arguments,) = re.findall(rf"exec {name}-0 -- mailcanary check (.*)", rendered.notes)
    given = cli.commands["check"].make_context("check", arguments.split()).params
    assert str(given["file"]) in rendered.container["args"]
