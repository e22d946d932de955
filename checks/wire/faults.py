"""What the operating system, OpenSSL and asyncio raise, as kinds of evidence: one table for every protocol."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

from checks.core.kit import Kit
from checks.core.model import Evidence, Kind, Phase, Protocol
from checks.core.trace import Failure, Trace
from checks.wire.certificates import described
from checks.wire.tls import CertificateRefusedError

# By errno, because happy eyeballs joins the failures of several addresses into a plain OSError with their errno.
_BY_ERRNO = {
    errno.ECONNREFUSED: Kind.REFUSED,
    errno.ECONNRESET: Kind.RESET,
    errno.ECONNABORTED: Kind.RESET,
    errno.EPIPE: Kind.RESET,
    errno.ETIMEDOUT: Kind.TIMEOUT,
    errno.ENETUNREACH: Kind.UNREACHABLE,
    errno.EHOSTUNREACH: Kind.UNREACHABLE,
    errno.EADDRNOTAVAIL: Kind.UNREACHABLE,
    errno.EAFNOSUPPORT: Kind.UNREACHABLE,
}
# The most specific type comes first.
_BY_TYPE: tuple[tuple[type[BaseException], Kind], ...] = (
    (socket.gaierror, Kind.RESOLVE),
    (ssl.SSLEOFError, Kind.CLOSED),
    (ssl.SSLZeroReturnError, Kind.CLOSED),
    (ssl.SSLError, Kind.TLS),
    (ssl.CertificateError, Kind.TLS),
    (ConnectionRefusedError, Kind.REFUSED),
    (ConnectionResetError, Kind.RESET),
    (BrokenPipeError, Kind.RESET),
    (ConnectionAbortedError, Kind.RESET),
    (TimeoutError, Kind.TIMEOUT),
    (EOFError, Kind.CLOSED),
)


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and what caused it, outermost first."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def failure_of(error: BaseException, trace: Trace) -> Failure:
    """A network or TLS error as a failure of the current phase; whatever has no better word is a closed connection."""
    for link in chain(error):
        kind = _kind(link)
        if kind is not None:
            return trace.failure(kind, _text(link), code=_code(link))
    return trace.failure(Kind.CLOSED, _text(error))


def context_of(ca_file: str | None, kit: Kit, trace: Trace, protocol: Protocol) -> ssl.SSLContext:
    """The context that verifies by these CAs. A file that can not be read fails the handshake before it begins."""
    try:
        return kit.tls.context(ca_file)
    except OSError as error:
        text = trace.redact(f"{ca_file}: {error}")
        raise Failure(Evidence(protocol=protocol, phase=Phase.TLS, kind=Kind.TLS, code="ca_file", text=text)) from error


def _kind(error: BaseException) -> Kind | None:
    for known, kind in _BY_TYPE:
        if isinstance(error, known):
            return kind
    return _BY_ERRNO.get(error.errno or 0) if isinstance(error, OSError) else None


def _code(error: BaseException) -> str | None:
    """OpenSSL's number for a certificate that failed verification, else its reason, such as WRONG_VERSION_NUMBER."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_code)
    return error.reason if isinstance(error, ssl.SSLError) else None


def _text(error: BaseException) -> str:
    if isinstance(error, CertificateRefusedError):
        return f"{error.verify_message}; {described(error.presented)}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return str(error) or type(error).__name__
