"""The check `endpoint` against real servers: Postfix, and Dovecot's submission and IMAP services."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checks.core.clock import SystemClock
from checks.core.cloud import Endpoint, Family, TlsMode
from checks.core.model import CertificateSeen, EndpointSeen, Outcome, Phase, Protocol
from checks.core.run import run_check
from checks.core.target import Route
from checks.endpoint import CHECK, EndpointSettings
from checks.wire.kit import open_kit

if TYPE_CHECKING:
    from pathlib import Path

    from checks.core.model import Result
    from tests.peers.dovecot import Dovecot
    from tests.peers.postfix import Postfix


async def run(route: Route) -> Result:
    """One run with a kit of its own."""
    async with open_kit(clock=SystemClock(), seed=3) as kit:
        return await run_check(CHECK, route, EndpointSettings(), kit, watch="endpoint/peer", seconds=20)


def submission(port: int, ca_file: Path | None, host: str = "localhost") -> Route:
    """The IPv4 way to a submission service."""
    endpoint = Endpoint(host=host, port=port, ca_file=str(ca_file) if ca_file else None)
    return Route(protocol=Protocol.SMTP, endpoint=endpoint, family=Family.IPV4)


def shown(result: Result) -> tuple[EndpointSeen, list[CertificateSeen]]:
    """What the endpoint showed of itself."""
    (seen,) = [fact for fact in result.facts if isinstance(fact, EndpointSeen)]
    return seen, [fact for fact in result.facts if isinstance(fact, CertificateSeen)]


@pytest.mark.parametrize("port", ["port", "stock_port"])
async def test_postfix_passes(postfix: Postfix, port: str) -> None:
    """Postfix passes without a login: TLS 1.3, XOAUTH2 on offer, its certificate read."""
    result = await run(submission(getattr(postfix, port), postfix.ca_file))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    seen, chain = shown(result)
    assert ("127.0.0.1", "TLSv1.3") == (seen.ip, seen.tls_version)
    assert {"OAUTHBEARER", "XOAUTH2"} == set(seen.auth_mechanisms)
    assert [0] == [certificate.position for certificate in chain]
    assert result.measures["certificate_days_left"] > 21


async def test_dovecots_submission_passes(dovecot: Dovecot) -> None:
    """Dovecot's submission service passes without a login."""
    result = await run(submission(dovecot.submission_port, dovecot.ca_file))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert "XOAUTH2" in shown(result)[0].auth_mechanisms


async def test_dovecots_imap_passes(dovecot: Dovecot) -> None:
    """Dovecot's IMAP service with implicit TLS passes without a login, by its address pinned."""
    endpoint = Endpoint(host=dovecot.host, port=dovecot.imap_port, tls=TlsMode.IMPLICIT, ca_file=str(dovecot.ca_file))
    result = await run(Route(protocol=Protocol.IMAP, endpoint=endpoint, ip="127.0.0.1"))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    seen, chain = shown(result)
    assert "XOAUTH2" in seen.auth_mechanisms
    assert 1 == len(chain)


async def test_a_private_ca_that_nobody_named_is_unknown(postfix: Postfix) -> None:
    """Trusting the system's CAs alone, Postfix's certificate is refused and shown."""
    result = await run(submission(postfix.port, None))
    assert ("tls.unknown_ca", Phase.TLS) == (result.worst.cause, result.worst.evidence.phase)
    assert "for localhost, 127.0.0.1, " in result.worst.evidence.text
    assert [0] == [fact.position for fact in result.facts if isinstance(fact, CertificateSeen)]


async def test_a_host_that_the_certificate_does_not_name_is_wrong(postfix: Postfix) -> None:
    """Postfix at a pinned address, by a name that is not its own, is refused for its name and for nothing else."""
    endpoint = Endpoint(host="mail.canary.test", port=postfix.port, ca_file=str(postfix.ca_file))
    result = await run(Route(protocol=Protocol.SMTP, endpoint=endpoint, ip="127.0.0.1"))
    assert ("tls.wrong_name", Phase.TLS) == (result.worst.cause, result.worst.evidence.phase)
    assert "for localhost, 127.0.0.1, " in result.worst.evidence.text


async def test_submission_spoken_to_in_tls_at_once_does_not_speak_tls(postfix: Postfix) -> None:
    """Implicit TLS at a STARTTLS port is told as such, in the phase tls."""
    endpoint = Endpoint(host="localhost", port=postfix.port, tls=TlsMode.IMPLICIT, ca_file=str(postfix.ca_file))
    result = await run(Route(protocol=Protocol.SMTP, endpoint=endpoint, family=Family.IPV4))
    assert ("tls.not_tls", Phase.TLS) == (result.worst.cause, result.worst.evidence.phase)
