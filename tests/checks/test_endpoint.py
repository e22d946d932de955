"""The check `endpoint`: every certificate there can be, both families, pinned addresses, both ways into TLS."""

from __future__ import annotations

import dataclasses
import socket
from typing import TYPE_CHECKING

import pytest

from checks.core.clock import SystemClock
from checks.core.cloud import Endpoint, Family, TlsMode
from checks.core.kit import Network
from checks.core.model import CertificateSeen, EndpointSeen, Kind, Outcome, Phase, Protocol
from checks.core.run import run_check
from checks.core.secret import Redactor
from checks.core.target import Route
from checks.core.trace import Trace
from checks.endpoint import CHECK, EndpointSettings
from checks.wire.kit import open_kit
from tests.checks.mail_host import HOST, Authority, Names, mail_host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from checks.core.kit import Kit
    from checks.core.model import Result
    from tests.checks.lab import Lab

V4, V6 = "127.0.0.1", "::1"
# Connecting a datagram socket to these fails on every Linux: broadcast is not allowed, link-local needs an interface.
NOWHERE_V4, NOWHERE_V6 = "255.255.255.255", "fe80::1"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA of its own for every test."""
    return Authority(tmp_path)


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    """A kit; its resolver is replaced by each probe."""
    async with open_kit(clock=SystemClock(), seed=1) as opened:
        yield opened


@dataclasses.dataclass(frozen=True)
class Prober:
    """Runs the check against `HOST` at a port."""

    kit: Kit
    authority: Authority

    async def __call__(
        self,
        port: int,
        *,
        ips: tuple[str, ...] = (V4,),
        network: Network | None = None,
        tls: TlsMode = TlsMode.STARTTLS,
        settings: EndpointSettings | None = None,
        **way: object,
    ) -> Result:
        """What the check says; `way` are fields of the route."""
        endpoint = Endpoint(host=HOST, port=port, tls=tls, ca_file=self.authority.ca_file)
        route = Route(**{"protocol": Protocol.SMTP, "endpoint": endpoint, "family": Family.IPV4, **way})
        kit = dataclasses.replace(self.kit, resolver=Names(ips, network or Network()))
        return await run_check(CHECK, route, settings or EndpointSettings(), kit, watch="endpoint/x", seconds=5)


@pytest.fixture
def probe(kit: Kit, authority: Authority) -> Prober:
    """One run of the check."""
    return Prober(kit, authority)


def certificates(result: Result) -> list[CertificateSeen]:
    """The certificates among the facts."""
    return [fact for fact in result.facts if isinstance(fact, CertificateSeen)]


def found(result: Result) -> list[tuple[str, Phase]]:
    """Cause and phase of every finding."""
    return [(finding.cause, finding.evidence.phase) for finding in result.findings]


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
async def test_a_good_endpoint_passes_and_shows_itself(probe: Prober, authority: Authority, *, implicit: bool) -> None:
    """A chain that verifies passes; TLS version, cipher, address, mechanisms, chain and its days left are learned."""
    with mail_host(authority.good(days=90), implicit=implicit) as port:
        result = await probe(port, tls=TlsMode.IMPLICIT if implicit else TlsMode.STARTTLS)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    (seen,) = [fact for fact in result.facts if isinstance(fact, EndpointSeen)]
    assert (f"{HOST}:{port}", V4, "TLSv1.3", ("LOGIN", "XOAUTH2")) == (
        seen.endpoint,
        seen.ip,
        seen.tls_version,
        seen.auth_mechanisms,
    )
    assert "TLS_" in seen.cipher
    leaf, middle = certificates(result)
    assert (0, 1) == (leaf.position, middle.position)
    assert leaf.issuer == middle.subject
    assert 64 == len(leaf.fingerprint)
    assert 89.9 < result.measures["certificate_days_left"] <= 90
    wanted = {Phase.RESOLVE, Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.TLS, Phase.QUIT}
    assert wanted | ({Phase.STARTTLS} if not implicit else set()) == {time.phase for time in result.phases}


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
@pytest.mark.parametrize(
    ("problem", "cause", "code"),
    [
        ("expired", "tls.expired", "10"),
        ("not_yet_valid", "tls.not_yet_valid", "9"),
        ("wrong_name", "tls.wrong_name", "62"),
        ("unknown_ca", "tls.unknown_ca", "20"),
        ("self_signed", "tls.self_signed", "18"),
        ("missing_intermediate", "tls.unknown_ca", "20"),
    ],
)
async def test_a_refused_chain_is_shown(
    probe: Prober, authority: Authority, problem: str, cause: str, code: str, *, implicit: bool
) -> None:
    """Each way to be refused has its cause in the phase tls, and what was presented is in the text and in the facts."""
    with mail_host(authority.problem(problem), implicit=implicit) as port:
        result = await probe(port, tls=TlsMode.IMPLICIT if implicit else TlsMode.STARTTLS)
    assert [(cause, Phase.TLS)] == found(result)
    evidence = result.findings[0].evidence
    assert (Kind.TLS, code) == (evidence.kind, evidence.code)
    shown = certificates(result)
    assert ({"self_signed": 1, "missing_intermediate": 1}.get(problem, 2)) == len(shown)
    leaf = shown[0]
    for part in (leaf.subject, leaf.issuer, f"{leaf.not_before:%Y-%m-%d} to {leaf.not_after:%Y-%m-%d}"):
        assert part in evidence.text
    assert leaf.fingerprint in evidence.text.replace(":", "")
    assert f"for {'other.example' if problem == 'wrong_name' else HOST}, " in evidence.text
    assert (result.measures["certificate_days_left"] < 0) == (problem == "expired")
    assert not [fact for fact in result.facts if isinstance(fact, EndpointSeen)]


async def test_what_is_shown_of_a_certificate_is_bounded_and_redacted(probe: Prober, authority: Authority) -> None:
    """A certificate for two hundred hosts and a person gives a short text and facts without the person's address."""
    with mail_host(authority.many_names(200)) as port:
        result = await probe(port)
    assert [("tls.unknown_ca", Phase.TLS)] == found(result)
    assert "and 196 more" in result.findings[0].evidence.text
    assert len(result.findings[0].evidence.text) <= 1000
    assert "someone" not in repr(result)


@pytest.mark.parametrize(
    ("days", "settings", "causes"),
    [
        (22, {}, []),
        (20, {}, ["endpoint.certificate_ends_soon"]),
        (8, {}, ["endpoint.certificate_ends_soon"]),
        (6, {}, ["endpoint.certificate_ends_now"]),
        (20, {"warn_days": 10.0}, []),
        (20, {"fail_days": 30.0}, ["endpoint.certificate_ends_now"]),
    ],
)
async def test_a_certificate_that_ends_soon_is_told_in_time(
    probe: Prober, authority: Authority, days: int, settings: Mapping[str, float], causes: list[str]
) -> None:
    """21 days before a certificate of the chain ends it is a warning, 7 days before a failure; both can be set."""
    with mail_host(authority.good(days=days)) as port:
        result = await probe(port, settings=EndpointSettings(**settings))
    assert [(cause, Phase.TLS) for cause in causes] == found(result)
    if causes:
        wanted = Outcome.FAIL if causes[0].endswith("now") else Outcome.WARN
        assert wanted is result.outcome
        assert f"in {days - 1}.9 days" in result.findings[0].evidence.text or f"in {days}.0 days" in (
            result.findings[0].evidence.text
        )


async def test_xoauth2_that_is_not_offered_fails_where_tokens_are_used(probe: Prober, authority: Authority) -> None:
    """A server without XOAUTH2 fails, and its mechanisms are kept; where passwords are used it may lack it."""
    with mail_host(authority.good(), mechanisms="LOGIN PLAIN") as port:
        result = await probe(port)
        foreign = await probe(port, xoauth2=False)
    assert [("smtp.xoauth2_missing", Phase.EHLO)] == found(result)
    (seen,) = [fact for fact in result.facts if isinstance(fact, EndpointSeen)]
    assert ("LOGIN", "PLAIN") == seen.auth_mechanisms
    assert (Outcome.PASS, ()) == (foreign.outcome, foreign.findings)


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
@pytest.mark.parametrize(
    ("protocol", "extra"), [(Protocol.IMAP, {"LOGIN"}), (Protocol.POP, {"USER"})], ids=["imap", "pop"]
)
async def test_imap_and_pop_are_looked_at_like_smtp(
    probe: Prober, authority: Authority, protocol: Protocol, extra: set[str], *, implicit: bool
) -> None:
    """IMAP and POP show TLS, chain and mechanisms, their password commands among these, and refuse what SMTP refuses."""
    tls = TlsMode.IMPLICIT if implicit else TlsMode.STARTTLS
    with mail_host(authority.good(), protocol=protocol, implicit=implicit, mechanisms="PLAIN XOAUTH2") as port:
        result = await probe(port, tls=tls, protocol=protocol)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    (seen,) = [fact for fact in result.facts if isinstance(fact, EndpointSeen)]
    assert {"PLAIN", "XOAUTH2", *extra} == set(seen.auth_mechanisms)
    assert 2 == len(certificates(result))
    with mail_host(authority.good(), protocol=protocol, implicit=implicit, mechanisms="PLAIN") as port:
        assert [("imap.xoauth2_missing", Phase.EHLO)] == found(await probe(port, tls=tls, protocol=protocol))
    with mail_host(authority.problem("wrong_name"), protocol=protocol, implicit=implicit) as port:
        refused = await probe(port, tls=tls, protocol=protocol)
    assert [("tls.wrong_name", Phase.TLS)] == found(refused)
    assert protocol is refused.findings[0].evidence.protocol
    assert "for other.example, " in refused.findings[0].evidence.text
    assert 2 == len(certificates(refused))


@pytest.mark.parametrize("protocol", [Protocol.SMTP, Protocol.IMAP, Protocol.POP])
async def test_only_names_of_mechanisms_are_kept(probe: Prober, authority: Authority, protocol: Protocol) -> None:
    """What stands among the mechanisms and is none (RFC 4422) is not believed to be one."""
    offered = f"XOAUTH2 someone@contoso.example {'X' * 30}"
    with mail_host(authority.good(), mechanisms=offered, protocol=protocol) as port:
        result = await probe(port, protocol=protocol)
    (seen,) = [fact for fact in result.facts if isinstance(fact, EndpointSeen)]
    assert {"XOAUTH2"} == set(seen.auth_mechanisms) - {"LOGIN", "USER"}


@pytest.fixture
def loopback_v6() -> str:
    """The IPv6 loopback address, where this machine has one."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind((V6, 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback address")
    return V6


async def test_each_family_is_probed_on_its_own(probe: Prober, authority: Authority, loopback_v6: str) -> None:
    """A host that answers on IPv6 alone passes there and is refused on IPv4, although it has both addresses."""
    ips = (V4, loopback_v6)
    with mail_host(authority.good(), ip=loopback_v6) as port:
        six = await probe(port, ips=ips, family=Family.IPV6)
        four = await probe(port, ips=ips, family=Family.IPV4)
    assert (Outcome.PASS, ()) == (six.outcome, six.findings)
    assert [V6] == [fact.ip for fact in six.facts if isinstance(fact, EndpointSeen)]
    assert [("network.refused", Phase.CONNECT)] == found(four)


async def test_a_pinned_address_is_the_one_that_is_asked(probe: Prober, authority: Authority) -> None:
    """A pinned address is connected to without a look-up, and the certificate is still checked for the host's name."""
    with mail_host(authority.good(), ip="127.0.0.2") as port:
        result = await probe(port, ips=(), family=Family.ANY, ip="127.0.0.2")
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert ["127.0.0.2"] == [fact.ip for fact in result.facts if isinstance(fact, EndpointSeen)]
    assert Phase.RESOLVE not in {time.phase for time in result.phases}


@pytest.mark.parametrize(
    ("ips", "family", "cause", "phase"),
    [
        ((V4,), Family.IPV6, "endpoint.no_address_of_family", Phase.RESOLVE),
        (("::1",), Family.IPV4, "endpoint.no_address_of_family", Phase.RESOLVE),
        ((V4, NOWHERE_V6), Family.IPV6, "endpoint.family_not_here", Phase.CONNECT),
    ],
)
async def test_a_family_that_is_not_there_is_news_only(
    probe: Prober, ips: tuple[str, ...], family: Family, cause: str, phase: Phase
) -> None:
    """What the host has no address of, or this machine no route to, is no failure while the other family works."""
    result = await probe(1, ips=ips, family=family)
    assert [(cause, phase)] == found(result)
    assert Outcome.INFO is result.outcome
    assert [Phase.RESOLVE] == [time.phase for time in result.phases]


async def test_a_family_that_our_own_address_is_not_of_is_not_here(probe: Prober, loopback_v6: str) -> None:
    """Bound to an IPv4 address of ours, nobody can come by IPv6: news, as where there is no route."""
    network = Network(source_address=V4)
    result = await probe(1, ips=(V4, loopback_v6), family=Family.IPV6, network=network)
    assert [("endpoint.family_not_here", Phase.CONNECT)] == found(result)


@pytest.mark.parametrize(
    ("ips", "cause", "phase"),
    [
        ((V4,), "network.no_address_of_family", Phase.RESOLVE),
        ((V4, NOWHERE_V6), "network.closed", Phase.CONNECT),
    ],
)
async def test_the_only_family_that_was_chosen_must_work(
    probe: Prober, ips: tuple[str, ...], cause: str, phase: Phase
) -> None:
    """Where the network is to use one family, its absence is a failure: nobody else would tell."""
    result = await probe(1, ips=ips, family=Family.IPV6, network=Network(family=Family.IPV6))
    assert Outcome.FAIL is result.outcome
    assert [(cause, phase)] == found(result)


async def test_no_family_at_all_is_a_failure_of_both(probe: Prober) -> None:
    """A machine that knows no way by either family fails both watches: two pieces of news would be silence."""
    for family in (Family.IPV4, Family.IPV6):
        result = await probe(1, ips=(NOWHERE_V4, NOWHERE_V6), family=family)
        assert Outcome.FAIL is result.outcome
        assert [Phase.CONNECT] == [finding.evidence.phase for finding in result.findings]


async def test_a_name_without_any_address_fails_once(kit: Kit, authority: Authority) -> None:
    """A host that does not resolve is a failure of the phase resolve, looked up once."""
    endpoint = Endpoint(host="nowhere.invalid", port=1, ca_file=authority.ca_file)

    class Unknown(Names):
        asked = 0

        async def resolve(self, host: str) -> tuple[object, ...]:
            Unknown.asked += 1
            raise socket.gaierror(socket.EAI_NONAME, f"{host}: Name or service not known")

    strange = dataclasses.replace(kit, resolver=Unknown((), Network()))
    route = Route(protocol=Protocol.SMTP, endpoint=endpoint, family=Family.IPV4)
    result = await run_check(CHECK, route, EndpointSettings(), strange, watch="endpoint/x", seconds=5)
    assert [("network.resolve", Phase.RESOLVE)] == found(result)
    assert 1 == Unknown.asked


@pytest.mark.parametrize(
    ("fault", "settings", "cause", "phase"),
    [
        ("refused", {}, "network.refused", Phase.CONNECT),
        ("silent", {"phase": "banner"}, "network.timeout", Phase.BANNER),
        ("silent", {"phase": "tls"}, "network.timeout", Phase.TLS),
        ("closed", {"phase": "ehlo"}, "network.closed", Phase.EHLO),
        ("nonsense", {"phase": "banner"}, "smtp.nonsense", Phase.BANNER),
        ("no_starttls", {}, "smtp.starttls_missing", Phase.EHLO),
        ("no_xoauth2", {}, "smtp.xoauth2_missing", Phase.EHLO),
        ("certificate", {"problem": "expired"}, "tls.expired", Phase.TLS),
        ("certificate", {"problem": "wrong_name"}, "tls.wrong_name", Phase.TLS),
        ("certificate", {"problem": "unknown_ca"}, "tls.unknown_ca", Phase.TLS),
        ("silent", {"phase": "quit"}, "smtp.unclean_quit", Phase.QUIT),
    ],
)
async def test_a_fault_of_exchange_online_is_found_without_a_login(
    lab: Lab, fault: str, settings: Mapping[str, object], cause: str, phase: Phase
) -> None:
    """Each fault of the server has its cause and phase, and nobody asked the authority for a token."""
    await lab.office.inject(fault, "smtp", settings)
    result = await lab.run("endpoint", seconds=0.7)
    assert [(cause, phase)] == found(result)
    assert Phase.TOKEN not in {time.phase for time in result.phases}


async def test_other_checks_show_a_refused_chain_too(lab: Lab) -> None:
    """What the authority presented and what the mail server presented is in the evidence of whoever was refused."""
    await lab.kit.tokens.current(lab.credential(), Trace(lab.kit.clock, Redactor()))
    for server, check in (("smtp", "smtp_auth"), ("entra", "token")):
        await lab.office.inject("certificate", server, {"problem": "wrong_name"})
        result = await lab.run(check)
        assert [("tls.wrong_name", Phase.TLS)] == found(result)
        assert "for other.example, " in result.findings[0].evidence.text
