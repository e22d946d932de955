"""Whether one address family leads to a host at all: what neither the host nor this machine has is no failure of either.

It is news, and no more, only where the other family does the work. Where one family was chosen for everything (the
network's `family`) nothing else does, so its absence stays a failure; and so does that of both.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from checks.core.cloud import Family
from checks.core.kit import Ip, Resolver
from checks.core.model import Kind, Phase
from checks.core.target import Route
from checks.core.trace import Trace
from checks.wire.net import ip_of, of_family

_OTHER = {Family.IPV4: Family.IPV6, Family.IPV6: Family.IPV4}
_NAMES = {Family.IPV4: "IPv4", Family.IPV6: "IPv6"}


@dataclass(frozen=True, slots=True)
class Lacking:
    """What is not there: the name of the observation, where it was made, and a sentence."""

    code: str
    phase: Phase
    text: str


async def lacking(route: Route, resolver: Resolver, trace: Trace) -> Lacking | None:
    """Why a route's family can not be used although the other one can; None: go and connect, which tells the rest.

    Raises Failure when the host can not be resolved at all.
    """
    family, host = route.family, route.endpoint.host
    if family is Family.ANY or resolver.network.family is not Family.ANY:
        return None
    with trace.phase(Phase.RESOLVE, route.protocol):
        try:
            ips = await resolver.resolve(host)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA cannot encode
            raise trace.failure(Kind.RESOLVE, f"{host}: {error}") from error
    own, others = of_family(ips, family), of_family(ips, _OTHER[family])
    if not own and others:
        return Lacking("no_address_of_family", Phase.RESOLVE, f"{host} has no {_NAMES[family]} address")
    source = ip_of(resolver.network.source_address) if resolver.network.source_address else None
    if not _any_leads(own, source) and _any_leads(others, source):
        return Lacking("family_not_here", Phase.CONNECT, f"this host has no {_NAMES[family]} route to {host}")
    return None


def _any_leads(ips: tuple[Ip, ...], source: Ip | None) -> bool:
    return any(_leads(ip, source) for ip in ips)


def _leads(ip: Ip, source: Ip | None) -> bool:
    """Whether this machine knows a way. Connecting a datagram socket sends nothing: only the own routes are asked."""
    if source is not None and source.family != ip.family:
        return False
    try:
        with socket.socket(ip.family, socket.SOCK_DGRAM) as sock:
            sock.connect((ip.ip, 1))
    except OSError:
        return False
    return True
