"""What checks share and their caller owns: time, randomness, TLS contexts, names, tokens, one HTTP session.

These are the shapes; `checks.wire.kit.open_kit` makes the real things and closes them.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from checks.core.clock import Clock
from checks.core.cloud import Family
from checks.core.secret import Secret
from checks.core.target import Credential
from checks.core.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token and how long it lives, in seconds from when it was given."""

    value: Secret
    lifetime: float
    given_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How we reach others. `proxy` is the URL of an HTTP proxy, for HTTPS only, and may hold a password.

    `family` says which addresses of a host are used by whoever does not choose for himself, `source_address` the local
    address that mail connections start from, `ehlo_name` what we call ourselves; empty is this host's own name.
    """

    ehlo_name: str = ""
    proxy: Secret | None = None
    family: Family = Family.ANY
    source_address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a person who signs in has to do: go to a page and type a code, within so many seconds."""

    page: str
    code: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Ip:
    """One address of a host: the family of `socket`, and the address."""

    family: int
    ip: str


class Resolver(Protocol):
    """Turns names into addresses, once per name and time to live for all probes, and knows our network to reach them."""

    @property
    def network(self) -> Network:
        """Which of a host's addresses are used and what connections start from."""

    async def resolve(self, host: str) -> tuple[Ip, ...]:
        """All addresses of a host. Raises OSError (socket.gaierror) when there are none."""


class TlsContexts(Protocol):
    """One verified SSLContext per policy, never one per connection."""

    def context(self, ca_file: str | None) -> ssl.SSLContext:
        """The context that trusts the system's CAs, or only those of `ca_file`. Raises OSError for a bad file."""

    def forget(self) -> None:
        """Read every CA anew when it is next asked for: files may have changed."""


class Tokens(Protocol):
    """Access tokens from the authority."""

    async def fresh(self, credential: Credential, trace: Trace) -> AccessToken:
        """A new token by a real round trip, never from a cache, in phases of `trace`. Raises Failure."""

    async def current(self, credential: Credential, trace: Trace) -> AccessToken:
        """A token that lives long enough for mail: the last one or a new one, one request at a time. Raises Failure."""

    async def sign_in(self, credential: Credential, trace: Trace, show: Callable[[Prompt], None]) -> None:
        """Have a person sign in and keep the refresh token in the credential's file. Raises Failure."""

    def keep_only(self, credentials: frozenset[Credential]) -> None:
        """Forget the tokens of all other credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """Handed to every run."""

    clock: Clock
    rng: random.Random
    resolver: Resolver
    tls: TlsContexts
    tokens: Tokens
    ehlo_name: str
