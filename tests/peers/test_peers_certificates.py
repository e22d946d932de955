"""Certificates that no client should take, shown by a real Postfix and a real Dovecot, with STARTTLS and without."""

from __future__ import annotations

import dataclasses
import hashlib
import ssl
from typing import TYPE_CHECKING

import pytest

from checks.core.cloud import Endpoint, TlsMode
from checks.core.model import CertificateSeen, Kind, Outcome, Phase, Protocol
from checks.core.target import Route
from tests.peers.authority import FLAWS
from tests.peers.probes import credential, mailbox, run

if TYPE_CHECKING:
    from checks.core.model import Result
    from tests.peers.authority import FlawedCertificate, PrivateCA
    from tests.peers.dovecot import Dovecot
    from tests.peers.oidc import Oidc
    from tests.peers.postfix import Postfix

HERE = "127.0.0.1"
# Cause, OpenSSL's number, and the days that the certificate is valid, as the evidence has them.
WANTED = {
    "expired": ("tls.expired", "10", "2000-01-01 to 2001-02-03"),
    "not-yet-valid": ("tls.not_yet_valid", "9", "2987-06-05 to 3000-01-01"),
    "wrong-name": ("tls.wrong_name", "62", "2000-01-01 to 3000-01-01"),
    "self-signed": ("tls.self_signed", "18", "2001-02-03 to 2987-06-05"),
    "unknown-ca": ("tls.unknown_ca", "20", "2000-01-01 to 3000-01-01"),
}


def is_refused(result: Result, flaw: str, shown: FlawedCertificate) -> None:
    """The run failed at TLS for this flaw, and what was presented is in the evidence and among the facts."""
    cause, code, days = WANTED[flaw]
    (finding,) = result.findings
    evidence = finding.evidence
    assert (cause, Phase.TLS, Kind.TLS, code) == (finding.cause, evidence.phase, evidence.kind, evidence.code)
    named = "other.canary.test" if flaw == "wrong-name" else shown.host
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown.certificate_file.read_text())).digest()
    assert f"for {named}, {days}, SHA-256 {digest.hex(':')}" in evidence.text
    (certificate,) = [fact for fact in result.facts if isinstance(fact, CertificateSeen)]
    assert (0, digest.hex()) == (certificate.position, certificate.fingerprint)
    assert (result.measures["certificate_days_left"] < 0) == (flaw == "expired")
    assert Phase.TLS is result.phases[-1].phase


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize("tls", TlsMode)
async def test_postfix_with_a_flawed_certificate(
    private_ca: PrivateCA, postfix: Postfix, flaw: str, tls: TlsMode
) -> None:
    """A submission port that shows such a certificate fails at TLS, for that and for nothing else."""
    shown, ports = private_ca.flawed[flaw], postfix.flawed[flaw]
    port = ports.implicit if tls is TlsMode.IMPLICIT else ports.starttls
    endpoint = Endpoint(host=shown.host, port=port, tls=tls, ca_file=str(private_ca.ca_file))
    is_refused(await run("endpoint", Route(protocol=Protocol.SMTP, endpoint=endpoint, ip=HERE)), flaw, shown)


@pytest.mark.parametrize("flaw", FLAWS)
@pytest.mark.parametrize(
    ("protocol", "port", "tls"),
    [
        (Protocol.IMAP, "imap_port", TlsMode.IMPLICIT),
        (Protocol.IMAP, "imap_clear_port", TlsMode.STARTTLS),
        (Protocol.POP, "pop_port", TlsMode.IMPLICIT),
        (Protocol.POP, "pop_clear_port", TlsMode.STARTTLS),
        (Protocol.SMTP, "submission_port", TlsMode.STARTTLS),
    ],
    ids=str,
)
async def test_dovecot_with_a_flawed_certificate(
    private_ca: PrivateCA, dovecot: Dovecot, flaw: str, protocol: Protocol, port: str, tls: TlsMode
) -> None:
    """Dovecot shows such a certificate to who asks for that host: IMAP, POP and submission fail at TLS for it."""
    shown = private_ca.flawed[flaw]
    endpoint = Endpoint(host=shown.host, port=getattr(dovecot, port), tls=tls, ca_file=str(private_ca.ca_file))
    is_refused(await run("endpoint", Route(protocol=protocol, endpoint=endpoint, ip=HERE)), flaw, shown)


async def test_postfix_in_tls_from_the_start_passes(postfix: Postfix) -> None:
    """A good certificate on a port with implicit TLS passes."""
    endpoint = Endpoint(
        host="localhost", port=postfix.implicit_port, tls=TlsMode.IMPLICIT, ca_file=str(postfix.ca_file)
    )
    result = await run("endpoint", Route(protocol=Protocol.SMTP, endpoint=endpoint, ip=HERE))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)


@pytest.mark.parametrize("check", ["smtp_auth", "imap_auth", "pop_auth"])
@pytest.mark.parametrize("clear", [False, True], ids=["implicit", "starttls"])
async def test_nobody_signs_in_where_the_certificate_has_expired(
    private_ca: PrivateCA, oidc: Oidc, postfix: Postfix, dovecot: Dovecot, check: str, *, clear: bool
) -> None:
    """Mailbox checks end at TLS with the same cause: no token is sent there."""
    shown, ports = private_ca.flawed["expired"], postfix.flawed["expired"]
    owner = credential(oidc, dovecot, clear=clear, host=shown.host)
    smtp = Endpoint(
        host=shown.host,
        port=ports.starttls if clear else ports.implicit,
        tls=TlsMode.STARTTLS if clear else TlsMode.IMPLICIT,
        ca_file=str(private_ca.ca_file),
    )
    target = dataclasses.replace(mailbox(owner, dovecot.mailboxes.sender), endpoint=smtp)
    result = await run(check, target, ips=(HERE,))
    assert ["tls.expired"] == [finding.cause for finding in result.findings]
    assert (Phase.TLS, False) == (result.phases[-1].phase, result.phases[-1].finished)
    assert "2000-01-01 to 2001-02-03" in result.worst.evidence.text
