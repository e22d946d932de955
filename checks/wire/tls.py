"""TLS contexts: verified, one per policy, and observed, so that a handshake can be timed apart from what surrounds it.

Loading the system's CA bundle costs 17 ms of CPU and a handshake 0.7 ms, so a context is made once. asyncio and uvloop
both call `SSLContext.wrap_bio` when a handshake begins and `SSLObject.do_handshake` until it is done; that is where the
observer of the running task is told.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

# Told `True` when a handshake begins and `False` when it is done. A callback that asyncio schedules runs in a copy of
# the context it was scheduled in (PEP 567), so the observer of one connection never hears of another's handshake.
handshake_observer: ContextVar[Callable[[bool], None] | None] = ContextVar("handshake_observer", default=None)


class _ObservedObject(ssl.SSLObject):
    observer: Callable[[bool], None] | None = None

    def do_handshake(self) -> None:
        """Shake hands; the observer hears of it once, when it is done."""
        super().do_handshake()
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
