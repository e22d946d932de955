"""TLS contexts: verified, one per policy, and observed, so that a handshake can be timed apart from what surrounds it.

Loading the system's CA bundle costs 17 ms of CPU and a handshake 0.7 ms, so a context is made once. asyncio and uvloop
both call `SSLContext.wrap_bio` when a handshake begins and `SSLObject.do_handshake` until it is done; that is where the
observer of the running task is told, and where what was presented is kept when it is refused.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

# Told `True` when a handshake begins and `False` when it is done. A callback that asyncio schedules runs in a copy of
# the context it was scheduled in (PEP 567), so the observer of one connection never hears of another's handshake.
handshake_observer: ContextVar[Callable[[bool], None] | None] = ContextVar("handshake_observer", default=None)

_DER = 2  # `_ssl.ENCODING_DER`


class CertificateRefusedError(ssl.SSLCertVerificationError):
    """A chain that did not verify, with what was presented: DER, the server's own certificate first."""

    def __init__(self, error: ssl.SSLCertVerificationError, presented: tuple[bytes, ...]) -> None:
        super().__init__(*error.args)
        self.library, self.reason = error.library, error.reason
        self.verify_code, self.verify_message = error.verify_code, error.verify_message
        self.presented = presented


def presented(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """The certificates that the peer sent, DER, its own first; also after a verification that failed.

    OpenSSL 3 keeps what was sent before it verifies it. OpenSSL 1.1.1 does so only afterwards, but there too the chain that
    it had built up to the error can be read, so nothing has to be asked for a second time.
    """
    return _chain(tls, "get_unverified_chain") or verified(tls)


def verified(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    """The chain that was built from what the peer sent, DER, to the trusted root; after a failure as far as it came."""
    return _chain(tls, "get_verified_chain")


def _chain(tls: Any, method: str) -> tuple[bytes, ...]:
    """Python has these methods in public from 3.13 on; 3.10 to 3.12 have them one layer below, where they will stay."""
    if sys.version_info >= (3, 13):
        return tuple(getattr(tls, method)() or ())
    return tuple(one.public_bytes(_DER) for one in getattr(tls._sslobj, method)() or ())  # noqa: SLF001


class _ObservedObject(ssl.SSLObject):
    observer: Callable[[bool], None] | None = None

    def do_handshake(self) -> None:
        """Shake hands; the observer hears of it once, when it is done. A refused chain is in the error."""
        refused = None
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            refused = CertificateRefusedError(error, presented(self))
        if refused is not None:
            raise refused  # out here: whoever looks for the root of an error must not find the one that knows less
        if self.observer is not None:
            self.observer(False)  # noqa: FBT003 - the observer's only parameter
            self.observer = None


class _ObservedContext(ssl.SSLContext):
    sslobject_class = _ObservedObject

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Wrap as usual and tell the observer that a handshake begins."""
        wrapped = super().wrap_bio(*args, **kwargs)
        observer = handshake_observer.get()
        if observer is not None and isinstance(wrapped, _ObservedObject):
            wrapped.observer = observer
            observer(True)  # noqa: FBT003 - the observer's only parameter
        return wrapped


class Contexts:
    """One verified context for the system's CAs and one per private CA file."""

    def __init__(self) -> None:
        self._made: dict[str | None, ssl.SSLContext] = {}

    def context(self, ca_file: str | None) -> ssl.SSLContext:
        """The context for a policy. Raises OSError (also ssl.SSLError) when the CA file cannot be read."""
        if ca_file not in self._made:
            self._made[ca_file] = _verified(ca_file)
        return self._made[ca_file]

    def forget(self) -> None:
        """Read every CA anew when it is next asked for: files may have changed."""
        self._made.clear()


def _verified(ca_file: str | None) -> ssl.SSLContext:
    context = _ObservedContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies the chain and the host name
    # Exchange Online refuses TLS 1.0 and 1.1 ("421 4.7.66").
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(ca_file)
    return context
