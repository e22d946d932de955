"""Certificates as they are read for people: any bytes, bounded words."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from checks.wire.certificates import MAX_CHAIN, described, read

LEAF = trustme.CA().issue_cert("mail.example", "192.0.2.7", common_name="mail.example")
DER = x509.load_pem_x509_certificate(LEAF.cert_chain_pems[0].bytes()).public_bytes(Encoding.DER)


def test_a_certificate_is_read_whole() -> None:
    """Subject, issuer, hosts, both dates and the fingerprint stand in the record, and in the text for people."""
    ((position, certificate),) = read([DER])
    assert (0, ("mail.example", "192.0.2.7")) == (position, certificate.hosts)
    assert hashlib.sha256(DER).hexdigest() == certificate.fingerprint
    assert 2.5 == certificate.days_left(certificate.not_after - timedelta(days=2.5))
    text = described([DER])
    for part in ("CN=mail.example", certificate.issuer, "for mail.example, 192.0.2.7, ", "SHA-256 "):
        assert part in text
    assert certificate.fingerprint in text.replace(":", "")


def test_a_long_chain_is_cut() -> None:
    """Of a chain without end only its beginning is read, and the text says how many more there were."""
    assert list(range(MAX_CHAIN)) == [position for position, _ in read([DER] * 300)]
    assert described([DER] * 300).endswith("; 298 more")


def test_a_cut_leaves_no_half_of_an_address() -> None:
    """A subject that is too long ends before the word that did not fit: half an address could not be masked any more."""
    leaf = trustme.CA().issue_cert(
        "mail.example", common_name="x" * 20, organization_name=f"{'y' * 50} someone@contoso.example"
    )
    der = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).public_bytes(Encoding.DER)
    ((_, certificate),) = read([der])
    assert certificate.subject.endswith("…")
    assert len(certificate.subject) <= 120
    assert "someone" not in certificate.subject


def test_what_cannot_be_read_keeps_its_place() -> None:
    """An unreadable certificate is left out; those behind it keep their positions."""
    assert [1] == [position for position, _ in read([b"nonsense", DER])]
    assert "nothing readable was presented" == described([b"nonsense"])
    assert "nothing readable was presented" == described([])


@given(st.lists(st.tuples(st.integers(0, len(DER) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_no_certificate_breaks_the_reader(changes: list[tuple[int, int]]) -> None:
    """Whatever bytes are changed, a certificate is read or left out, and its words are bounded."""
    der = bytearray(DER)
    for place, value in changes:
        der[place] = value
    assert len(described([bytes(der)])) < 1000


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(der: bytes) -> None:
    """What is no certificate at all is left out."""
    assert [] == list(read([der]))
