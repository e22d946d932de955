"""Clouds, and what stands in them: built-in ones changed, own ones, alternatives, inboxes, endpoints, the network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from checks.core.cloud import Endpoint, Family, TlsMode
from checks.core.material import FederatedToken, ManagedIdentity, RefreshToken
from checks.core.target import Route
from checks.registry import CHECKS
from monitor.config import Configuration, ConfigurationError, load
from monitor.config.clouds import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Made = Callable[..., Configuration]

APP = {"tenant": "contoso", "client_id": "3fd2b7a9-0000-4000-8000-000000000001", "credential": {"secret": "env:NOT_READ"}}  # fmt: skip
BOX = {"address": "box@contoso.example", "app": "mailer"}


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Loads a configuration of one mailbox in a cloud, with more keys if wanted, without secrets."""

    def loaded(cloud: str = "public", *, box: dict[str, Any] | None = None, app: dict[str, Any] | None = None, **more: Any) -> Configuration:  # fmt: skip
        file = tmp_path / "c.yaml"
        content = {
            "tenants": {"contoso": {"tenant_id": "contoso.example", "cloud": cloud}},
            "apps": {"mailer": {**APP, **(app or {})}},
            "mailboxes": {"box": {**BOX, **(box or {})}},
            **more,
        }
        file.write_text(json.dumps(content))  # which is YAML too, without aliases
        return load(file, CHECKS, secrets=False)

    return loaded


def told(made: Made, *arguments: Any, **more: Any) -> list[str]:
    """The paths and messages of what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        made(*arguments, **more)
    return [f"{problem.path}: {problem.message}" for problem in caught.value.problems]


def routes(configuration: Configuration) -> set[str]:
    """The ids of the ways to endpoints."""
    return {one.target.id for one in configuration.targets if isinstance(one.target, Route)}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_cloud_is_complete_and_its_own(made: Made, name: str) -> None:
    """Nothing of one national cloud leads into another, and every endpoint is encrypted."""
    cloud = made(name).mailboxes["box"].cloud
    assert BUILT_IN[name] == cloud
    assert cloud.graph is not None
    endpoints = [cloud.smtp, cloud.imap, cloud.pop, *(one for _, one in cloud.alternatives)]
    hosts = [one.host for one in endpoints if one is not None]
    assert [587, 993, 995] == [one.port for one in endpoints[:3] if one is not None]
    assert [TlsMode.STARTTLS, TlsMode.IMPLICIT, TlsMode.IMPLICIT] == [
        one.tls for one in endpoints[:3] if one is not None
    ]
    ending = {"public": ".com", "usgov": ".us", "usgov-dod": ".us", "china": ".cn"}[name]
    assert all(host.endswith(ending) for host in [*hosts, cloud.authority, cloud.graph])
    assert ending in cloud.scope


CHANGES = [
    ("authority", "https://login.example/", "https://login.example"),
    ("scope", "https://mail.example/.default", "https://mail.example/.default"),
    ("smtp", {"host": "smtp.example", "port": 25}, Endpoint(host="smtp.example", port=25)),
    ("imap", {"host": "imap.example", "port": 993}, Endpoint(host="imap.example", port=993, tls=TlsMode.IMPLICIT)),
    ("pop", {"host": "pop.example", "port": 110, "tls": "starttls"}, Endpoint(host="pop.example", port=110)),
    ("graph", "https://graph.example/", "https://graph.example"),
]  # fmt: skip


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize(("key", "said", "expected"), CHANGES)
def test_every_value_of_a_built_in_cloud_can_be_changed(
    made: Made, name: str, key: str, said: Any, expected: Any
) -> None:
    """The changed one is as the file says, and all others stay."""
    cloud = made(name, clouds={name: {key: said}}).mailboxes["box"].cloud
    for known in ("authority", "scope", "smtp", "imap", "pop", "graph", "alternatives"):
        assert (expected if known == key else getattr(BUILT_IN[name], known)) == getattr(cloud, known)


def test_a_cloud_of_ones_own_has_only_what_it_names(made: Made, tmp_path: Path) -> None:
    """What it leaves out of authority and SMTP is the public cloud's; without IMAP, POP and Graph it has none."""
    (tmp_path / "ca.pem").touch()
    (tmp_path / "imap.pem").touch()
    lab = {"authority": "https://localhost:18443", "smtp": {"host": "localhost", "port": 18587}, "ca_file": "ca.pem"}
    cloud = made("lab", clouds={"lab": lab}).mailboxes["box"].cloud
    assert ("https://localhost:18443", "localhost:18443") == (cloud.authority, str(cloud.authority_endpoint))
    assert Endpoint(host="localhost", port=18587, ca_file=str(tmp_path / "ca.pem")) == cloud.smtp
    assert (None, None, None, ()) == (cloud.imap, cloud.pop, cloud.graph, cloud.alternatives)
    lab["imap"] = {"host": "localhost", "port": 18993, "ca_file": "imap.pem"}
    imap = made("lab", clouds={"lab": lab}).mailboxes["box"].cloud.imap
    assert Endpoint(host="localhost", port=18993, tls=TlsMode.IMPLICIT, ca_file=str(tmp_path / "imap.pem")) == imap


def test_a_ca_of_a_cloud_is_trusted_for_all_its_hosts(made: Made, tmp_path: Path) -> None:
    """Also for the endpoints that the file does not name, as behind a proxy that looks into TLS; an own one goes before."""
    (tmp_path / "ca.pem").touch()
    (tmp_path / "pop.pem").touch()
    pop = {"host": "pop.example", "port": 995, "ca_file": "pop.pem"}
    cloud = made(clouds={"public": {"ca_file": "ca.pem", "pop": pop}}).mailboxes["box"].cloud
    endpoints = [cloud, cloud.smtp, cloud.imap, *(one for _, one in cloud.alternatives)]
    assert {str(tmp_path / "ca.pem")} == {one.ca_file for one in endpoints if one is not None}
    assert cloud.pop is not None
    assert str(tmp_path / "pop.pem") == cloud.pop.ca_file


def test_a_mailbox_chooses_an_alternative(made: Made) -> None:
    """High Volume Email and the file's own are there by name; any other is told."""
    assert "smtp-hve.office365.com:587" == made(box={"smtp": "hve"}).mailboxes["box"].connects_to
    relay = {"public": {"alternatives": {"relay": {"host": "relay.example", "port": 465, "tls": "implicit"}}}}
    mailbox = made(box={"smtp": "relay"}, clouds=relay).mailboxes["box"]
    assert Endpoint(host="relay.example", port=465, tls=TlsMode.IMPLICIT) == mailbox.endpoint
    assert ["hve", "legacy", "relay"] == [name for name, _ in mailbox.cloud.alternatives]
    changed = {"public": {"alternatives": {"hve": {"host": "hve.example", "port": 587}}}}
    assert "hve.example:587" == made(box={"smtp": "hve"}, clouds=changed).mailboxes["box"].connects_to
    message = "mailboxes.box.smtp: there is no alternative SMTP endpoint of cloud china 'hve'; known: none"
    assert [message] == told(made, "china", box={"smtp": "hve"})


def test_an_inbox_is_read_with_an_app_or_a_password_or_not_at_all(made: Made) -> None:
    """By an app in its cloud or at a server of its own; one with neither is only written to, and no target."""
    imap = {"host": "imap.partner.example", "port": 993}
    inboxes = {
        "ours": {"address": "canary@contoso.example", "app": "mailer"},
        "moved": {"address": "canary@contoso.example", "app": "mailer", "imap": imap},
        "outside": {"address": "canary@partner.example", "password": "env:NOT_READ", "imap": imap},
        "unread": {"address": "canary@partner.example"},
    }
    box = {"checks": {"canary": {"to": ["ours", "unread"]}}}
    configuration = made(inboxes=inboxes, box=box)
    read = configuration.inboxes
    assert ["ours", "moved", "outside"] == list(read)
    places = {
        "ours": "outlook.office365.com:993",
        "moved": "imap.partner.example:993",
        "outside": "imap.partner.example:993",
    }
    assert places == {name: inbox.connects_to for name, inbox in read.items()}
    assert [True, True, False] == [inbox.credential is not None for inbox in read.values()]
    assert [False, False, True] == [inbox.password is not None for inbox in read.values()]
    (canary,) = [one.checks["canary"] for one in configuration.targets if one.target.id == "box"]
    assert ["ours", "unread"] == [inbox.id for inbox in canary.settings.to]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("inbox", "cloud", "expected"),
    [
        ({"app": "mailer", "password": "env:X"}, "public", "inboxes.in: expected app or password, not both"),
        ({"password": "env:X"}, "public", "inboxes.in.imap: expected its IMAP server, such as {host: imap.partner.example}"),
        ({"app": "mailer"}, "lab", "inboxes.in.imap: expected its IMAP server, such as {host: imap.partner.example}"),
        ({"app": "nobody"}, "public", "inboxes.in.app: there is no app 'nobody'; known: mailer"),
        ({"app": "mailer", "imap": {"host": "i", "port": 1, "ca_file": "none.pem"}}, "public", "inboxes.in.imap.ca_file: there is no file"),
    ],
)  # fmt: skip
def test_an_inbox_that_cannot_be_read_is_told(made: Made, inbox: dict[str, Any], cloud: str, expected: str) -> None:
    """Two ways to sign in, no server, no such app, no such CA."""
    inboxes = {"in": {"address": "canary@partner.example", **inbox}}
    (message,) = told(made, cloud, clouds={"lab": {"smtp": {"host": "localhost", "port": 587}}}, inboxes=inboxes)
    assert message.startswith(expected)


def test_every_endpoint_in_use_is_watched_once_per_family(made: Made) -> None:
    """Those of mailboxes, of what their checks speak and of inboxes, both families; a second user adds nothing."""
    smtp = {f"smtp.office365.com:587/{family}" for family in ("ipv4", "ipv6")}
    outlook = {f"outlook.office365.com:{{}}/{family}" for family in ("ipv4", "ipv6")}
    imap, pop = ({one.format(port) for one in outlook} for port in (993, 995))
    assert smtp == routes(made(mailboxes={"one": BOX, "two": BOX}))
    assert smtp | imap | pop == routes(made(box={"checks": {"imap_auth": {}, "pop_auth": {}}}))
    inboxes = {"in": {"address": "canary@contoso.example", "app": "mailer"}}
    assert smtp | imap == routes(made(inboxes=inboxes, box={"checks": {"imap_auth": {}}}))
    hve = {f"smtp-hve.office365.com:587/{family}" for family in ("ipv4", "ipv6")}
    assert smtp | hve == routes(made(mailboxes={"one": BOX, "two": {**BOX, "smtp": "hve"}}))


def test_further_endpoints_are_watched_too(made: Made) -> None:
    """By protocol; a pinned address is one way of its own; one that is in use already is not watched twice."""
    endpoints = {
        "relay": {"host": "relay.example", "port": 25},
        "pinned": {"host": "smtp.office365.com", "port": 587, "ip": "192.0.2.1"},
        "pop": {"host": "pop.example", "port": 995, "tls": "implicit", "protocol": "pop"},
        "used": {"host": "smtp.office365.com", "port": 587},
    }
    configuration = made(endpoints=endpoints, network={"family": "ipv6"})
    expected = {"smtp.office365.com:587/ipv6", "relay.example:25/ipv6", "smtp.office365.com:587/192.0.2.1", "pop.example:995/ipv6"}  # fmt: skip
    assert expected == routes(configuration)
    found = [one.target for one in configuration.targets if isinstance(one.target, Route)]
    assert len(expected) == len(found)
    assert {"pop"} == {route.protocol.value for route in found if route.endpoint.port == 995}
    assert all("endpoint" in one.checks for one in configuration.targets if isinstance(one.target, Route))


def test_the_network_is_as_the_file_says(made: Made) -> None:
    """Every key of it, addresses in their short form; nothing said is any family and no proxy."""
    network = {
        "ehlo_name": "probe.contoso.example",
        "proxy": "env:NOT_READ",
        "family": "ipv4",
        "source_address": "2001:0DB8::0001",
        "reach": ["1.1.1.1:53", "[2606:4700::1111]:53", "resolver.example:53"],
    }
    made_of_it = made(network=network).network
    assert ("probe.contoso.example", Family.IPV4, "2001:db8::1") == (
        made_of_it.ehlo_name,
        made_of_it.family,
        made_of_it.source_address,
    )
    assert (("1.1.1.1:53", "[2606:4700::1111]:53", "resolver.example:53"), True) == (
        made_of_it.reach,
        made_of_it.proxy is not None,
    )
    assert (Family.ANY, None, None, ()) == ((it := made().network).family, it.proxy, it.source_address, it.reach)


def test_what_is_wrong_with_the_network_is_told_at_once(made: Made) -> None:
    """Each key with what was expected of it."""
    wrong = {"ehlo_name": "two words", "proxy": "http://proxy", "family": "ipv5", "source_address": "here", "reach": ["1.1.1.1"]}  # fmt: skip
    paths = {line.partition(":")[0] for line in told(made, network=wrong)}
    assert {
        "network.ehlo_name",
        "network.family",
        "network.proxy",
        "network.reach.0",
        "network.source_address",
    } == paths


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        ({"federated": {"token_file": "/var/run/token"}}, FederatedToken("/var/run/token")),
        ({"managed_identity": {}}, ManagedIdentity()),
        ({"managed_identity": {"client_id": APP["client_id"]}}, ManagedIdentity(str(APP["client_id"]))),
    ],
)
def test_what_an_app_signs_in_with(made: Made, credential: dict[str, Any], expected: object) -> None:
    """Another issuer's token and the identity of the host, as the checks take them."""
    assert expected == made(app={"credential": credential}).credentials["mailer/current"].material


def test_a_refresh_token_has_its_file_and_scopes(made: Made, tmp_path: Path) -> None:
    """A path beside the configuration; the scopes that a user consents to if the file names none."""
    material = made(app={"credential": {"refresh_token": {"file": "hr.token"}}}).credentials["mailer/current"].material
    assert RefreshToken(file=str(tmp_path / "hr.token"), scopes=("https://outlook.office.com/SMTP.Send",)) == material
    said = {
        "file": "hr.token",
        "scopes": ["https://outlook.office.com/IMAP.AccessAsUser.All"],
        "secret": "env:NOT_READ",
    }
    material = made(app={"credential": {"refresh_token": said}}).credentials["mailer/current"].material
    assert isinstance(material, RefreshToken)
    assert (tuple(said["scopes"]), True) == (material.scopes, material.secret is not None)
