"""What was presented in a handshake, as facts of the run: when it was trusted, and when it was not."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from checks.core.model import CertificateSeen
from checks.core.trace import Failure, Trace
from checks.wire.certificates import Certificate, read
from checks.wire.faults import chain
from checks.wire.tls import CertificateRefusedError, presented, verified


@contextmanager
def witnessed(endpoint: str, trace: Trace, now: datetime) -> Iterator[None]:
    """A chain that is refused inside is learned like one that is not."""
    try:
        yield
    except Failure as failure:
        for link in chain(failure):
            if isinstance(link, CertificateRefusedError):
                _learn(endpoint, link.presented, link.presented, trace, now)
                break
        raise


def learn(endpoint: str, tls: ssl.SSLObject, trace: Trace, now: datetime) -> Certificate | None:
    """Record what was presented, and the days left of whichever certificate ends first; that one, or None.

    The days are those of the chain that was verified: a root of our own can be the first to end, and what a server sends
    beside the chain (a cross-signed root that ended years ago) does no harm.
    """
    return _learn(endpoint, presented(tls), verified(tls), trace, now)


def _learn(
    endpoint: str, sent: Sequence[bytes], used: Sequence[bytes], trace: Trace, now: datetime
) -> Certificate | None:
    for position, certificate in read(sent):
        trace.learn(
            CertificateSeen(
                endpoint=endpoint,
                position=position,
                subject=trace.redact(certificate.subject),
                issuer=trace.redact(certificate.issuer),
                not_before=certificate.not_before,
                not_after=certificate.not_after,
                fingerprint=certificate.fingerprint,
            )
        )
    first = min((certificate for _, certificate in read(used)), key=lambda one: one.not_after, default=None)
    if first is not None:
        trace.measure("certificate_days_left", first.days_left(now))
        trace.measure("certificate_not_after_timestamp_seconds", first.not_after.timestamp())
    return first
