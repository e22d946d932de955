"""Names and connections: one family, one pinned address, our own source address; and a resolver that bears dead DNS."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from checks.core.causes import table
from checks.core.clock import SystemClock
from checks.core.cloud import Endpoint, Family
from checks.core.kit import Ip, Network
from checks.core.model import Kind, Phase, Protocol
from checks.core.secret import Redactor
from checks.core.trace import Failure, Trace
from checks.wire import net
from checks.wire.kit import _HttpResolver
from checks.wire.net import PooledResolver, connect, ip_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from checks.core.model import Evidence

HOST = "mail.contoso.example"
LOOPBACKS = (Ip(socket.AF_INET6, "::1"), Ip(socket.AF_INET, "127.0.0.1"))
# Linux, and others: TCP to a multicast address has no route, whatever the routes are.
NO_ROUTE = Ip(socket.AF_INET, "224.0.0.1")
ELSEWHERE = "192.0.2.1"  # RFC 5737: on nobody's host


class HandClock(SystemClock):
    """A clock whose durations are moved by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        """What the hand says."""
        return self.at


class Names:
    """Name servers: what they know, how often each host was asked, and whether they hang."""

    def __init__(self, **known: tuple[Ip, ...]) -> None:
        self.known = {HOST: LOOPBACKS, **known}
        self.asked: list[str] = []
        self.hanging: set[str] = set()
        self.free = threading.Event()

    def look_up(self, host: str) -> tuple[Ip, ...]:
        """Answer as getaddrinfo would."""
        self.asked.append(host)
        if host in self.hanging:
            self.free.wait(60)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.known[host]


@asynccontextmanager
async def resolving(names: Names, network: Network | None = None) -> AsyncIterator[tuple[PooledResolver, HandClock]]:
    """A resolver and its clock; whatever hangs is set free at the end."""
    clock = HandClock()
    resolver = PooledResolver(clock, network or Network(), names.look_up)
    try:
        yield resolver, clock
    finally:
        names.free.set()
        await resolver.close()


@asynccontextmanager
async def listening() -> AsyncIterator[int]:
    """A server on both loopback addresses, on one port."""

    def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as first:
        port = first.sockets[0].getsockname()[1]
        async with await asyncio.start_server(hang_up, "::1", port):
            yield port


class Dialled:
    """One connection: whom it reached and from where, or why not, and the phases."""

    def __init__(self) -> None:
        self.peer = self.source = ""
        self.evidence: Evidence | None = None
        self.phases: list[Phase] = []

    @property
    def cause(self) -> str:
        """The cause of the failure."""
        assert self.evidence is not None
        return table().classify(self.evidence).id


async def dial(
    port: int, names: Names, network: Network | None = None, *, family: Family = Family.ANY, ip: str = ""
) -> Dialled:
    """Connect to HOST."""
    dialled, trace = Dialled(), Trace(SystemClock(), Redactor())
    async with resolving(names, network) as (resolver, _):
        try:
            endpoint = Endpoint(host=HOST, port=port)
            sock = await connect(endpoint, resolver, trace, Protocol.IMAP, family=family, ip=ip)
        except Failure as failure:
            dialled.evidence = failure.evidence
        else:
            dialled.peer, dialled.source = sock.getpeername()[0], sock.getsockname()[0]
            sock.close()
    dialled.phases = [time.phase for time in trace.phases]
    return dialled


@pytest.mark.parametrize(("family", "peer"), [(Family.IPV4, "127.0.0.1"), (Family.IPV6, "::1")])
@pytest.mark.parametrize("by", ["argument", "network"])
async def test_one_family_is_used_alone(family: Family, peer: str, by: str) -> None:
    """A family, chosen by the caller or for the whole network, is the only one that is connected to."""
    async with listening() as port:
        if by == "argument":
            dialled = await dial(port, Names(), family=family)
        else:
            dialled = await dial(port, Names(), Network(family=family))
    assert (peer, [Phase.RESOLVE, Phase.CONNECT]) == (dialled.peer, dialled.phases)


async def test_a_callers_family_is_stronger_than_the_networks() -> None:
    """Who asks for IPv6 gets it although the network prefers IPv4."""
    async with listening() as port:
        assert "::1" == (await dial(port, Names(), Network(family=Family.IPV4), family=Family.IPV6)).peer


@pytest.mark.parametrize("family", [Family.IPV4, Family.IPV6])
async def test_a_host_without_the_family_has_a_failure_of_its_own(family: Family) -> None:
    """A host that has only the other family fails to resolve, under a code and a cause that say so."""
    other = LOOPBACKS[0] if family is Family.IPV4 else LOOPBACKS[1]
    names = Names()
    names.known[HOST] = (other,)
    dialled = await dial(1, names, family=family)
    assert (Phase.RESOLVE, Kind.RESOLVE, f"no_{family}") == (
        dialled.evidence.phase,
        dialled.evidence.kind,
        dialled.evidence.code,
    )
    assert "network.no_address_of_family" == dialled.cause
    assert [Phase.RESOLVE] == dialled.phases


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1"])
async def test_a_pinned_address_needs_no_name(ip: str) -> None:
    """A pinned address is connected to without a look-up and without a phase for it, whatever the network prefers."""
    names = Names()
    names.known.clear()
    other = Family.IPV6 if ip == "127.0.0.1" else Family.IPV4
    async with listening() as port:
        dialled = await dial(port, names, Network(family=other), ip=ip)
    assert (ip, [Phase.CONNECT], []) == (dialled.peer, dialled.phases, names.asked)


async def test_connections_start_from_the_source_address() -> None:
    """A source address is the local end of the connection, and only addresses of its family are connected to."""
    async with listening() as port:
        dialled = await dial(port, Names(), Network(source_address="127.0.0.9"))
    assert ("127.0.0.9", "127.0.0.1") == (dialled.source, dialled.peer)


@pytest.mark.parametrize(
    ("source", "family", "ip"),
    [
        (ELSEWHERE, Family.ANY, ""),
        (ELSEWHERE, Family.ANY, "127.0.0.1"),
        ("2001:db8::1", Family.ANY, ""),
        ("127.0.0.1", Family.IPV6, ""),
        ("127.0.0.1", Family.ANY, "::1"),
    ],
)
async def test_a_wrong_source_address_is_our_own_failure(source: str, family: Family, ip: str) -> None:
    """A source address that is not on this host, or of another family, fails in connect and is blamed on the monitor."""
    async with listening() as port:
        dialled = await dial(port, Names(), Network(source_address=source), family=family, ip=ip)
    assert (Phase.CONNECT, Kind.INTERNAL, "source_address") == (
        dialled.evidence.phase,
        dialled.evidence.kind,
        dialled.evidence.code,
    )
    assert "monitor.source_address" == dialled.cause
    assert source in dialled.evidence.text


@pytest.mark.parametrize(
    ("ips", "kind", "cause"),
    [
        ((NO_ROUTE,), Kind.UNREACHABLE, "network.unreachable"),
        (LOOPBACKS[:1], Kind.REFUSED, "network.refused"),
        ((LOOPBACKS[0], NO_ROUTE), Kind.REFUSED, "network.refused"),
        ((NO_ROUTE, LOOPBACKS[0]), Kind.REFUSED, "network.refused"),
    ],
)
async def test_of_several_failures_the_most_telling_counts(ips: tuple[Ip, ...], kind: Kind, cause: str) -> None:
    """A host that refuses by one family and has no route by the other refuses."""
    names = Names()
    names.known[HOST] = ips
    dialled = await dial(1, names)
    assert (Phase.CONNECT, kind, cause) == (dialled.evidence.phase, dialled.evidence.kind, dialled.cause)


def test_a_family_that_this_host_lacks_is_unreachable() -> None:
    """The three errnos of a missing family or route are one kind, also where several addresses failed differently."""
    for number in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        joined = OSError(f"Multiple exceptions: [Errno {number}] a, [Errno {errno.ENETUNREACH}] b")
        trace = Trace(SystemClock(), Redactor())
        assert Kind.UNREACHABLE is net.failure_of(net._telling(joined), trace).evidence.kind


async def test_many_ask_and_the_name_servers_hear_it_once() -> None:
    """Ten thousand who want one name at one time are one look-up, and so are all others within the time to live."""
    names = Names()
    async with resolving(names) as (resolver, clock):
        found = await asyncio.gather(*(resolver.resolve(HOST) for _ in range(10_000)))
        assert {LOOPBACKS} == set(found)
        clock.at += net.TTL - 1
        await resolver.resolve(HOST)
        assert [HOST] == names.asked


async def test_a_stale_answer_is_never_used() -> None:
    """After the time to live the name servers are asked again, and their failure is not papered over."""
    names = Names()
    async with resolving(names) as (resolver, clock):
        await resolver.resolve(HOST)
        names.known.clear()
        clock.at += net.TTL
        with pytest.raises(socket.gaierror, match="not known"):
            await resolver.resolve(HOST)
        names.known[HOST] = LOOPBACKS[1:]
        clock.at += net.FAILED_FOR
        assert LOOPBACKS[1:] == await resolver.resolve(HOST)


async def test_dead_name_servers_are_left_alone_for_a_while() -> None:
    """A failure is told to everybody for five seconds by one look-up, each time as an exception of its own."""
    names = Names()
    names.known.clear()
    async with resolving(names) as (resolver, clock):
        errors = await asyncio.gather(*(resolver.resolve(HOST) for _ in range(1000)), return_exceptions=True)
        for _ in range(100):
            errors += await asyncio.gather(resolver.resolve(HOST), return_exceptions=True)
        assert {(socket.gaierror, socket.EAI_NONAME)} == {(type(error), error.errno) for error in errors}
        assert len(errors) == len({id(error) for error in errors})
        assert [HOST] == names.asked
        clock.at += net.FAILED_FOR
        with pytest.raises(socket.gaierror):
            await resolver.resolve(HOST)
        assert 2 == len(names.asked)


async def test_who_is_cancelled_cancels_nobody_else() -> None:
    """A run that ends at its deadline leaves the look-up to those who still wait for it."""
    names = Names()
    names.hanging.add(HOST)
    async with resolving(names) as (resolver, _):
        impatient, patient = (asyncio.create_task(resolver.resolve(HOST)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        names.free.set()
        assert LOOPBACKS == await patient


async def test_hung_look_ups_keep_others_waiting_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every slot held by a look-up that never ends, another host is still resolved; and no host hangs twice."""
    monkeypatch.setattr(net, "GIVE_UP", 0.05)
    hosts = [f"hung-{number}.contoso.example" for number in range(2 * net.SLOTS)]
    names = Names()
    names.hanging.update(hosts)
    async with resolving(names) as (resolver, clock):
        hung = [asyncio.create_task(resolver.resolve(host)) for host in hosts]
        await asyncio.sleep(0)
        async with asyncio.timeout(20):
            assert LOOPBACKS == await resolver.resolve(HOST)
            ends = await asyncio.gather(*hung, return_exceptions=True)
            clock.at += net.FAILED_FOR
            again = await asyncio.gather(*(resolver.resolve(host) for host in hosts), return_exceptions=True)
        assert {socket.EAI_AGAIN} == {error.errno for error in (*ends, *again)}
        assert "the look-up before still hangs" in str(again[0])
        assert len(hosts) + 1 == len(names.asked), "a host whose look-up hangs is not asked again"


async def test_a_hung_host_is_asked_again_when_its_look_up_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """When name servers come back, a host that hung is resolved again."""
    monkeypatch.setattr(net, "GIVE_UP", 0.01)
    names = Names()
    names.hanging.add(HOST)
    async with resolving(names) as (resolver, clock):
        with pytest.raises(socket.gaierror, match="no answer from the name servers within"):
            await resolver.resolve(HOST)
        names.free.set()
        async with asyncio.timeout(10):
            while resolver._threads:
                await asyncio.sleep(0)
        clock.at += net.FAILED_FOR
        assert LOOPBACKS == await resolver.resolve(HOST)


async def test_a_hung_look_up_keeps_nobody_from_ending() -> None:
    """Closing the resolver ends who waits, and the thread that hangs is one that a process may leave behind."""
    names = Names()
    names.hanging.add(HOST)
    async with resolving(names) as (resolver, _):
        waiting = asyncio.create_task(resolver.resolve(HOST))
        async with asyncio.timeout(10):
            while not names.asked:
                await asyncio.sleep(0)
        hung = [thread for thread in threading.enumerate() if thread.name == "mailcanary-resolve"]
        assert hung
        assert all(thread.daemon for thread in hung)
        await resolver.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_what_idna_can_not_encode_has_no_address() -> None:
    """A label that is too long is a name without an address, not a defect."""
    resolver = PooledResolver(SystemClock(), Network())
    with pytest.raises(socket.gaierror):
        await resolver.resolve("ä" * 64 + ".example")


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names are asked for, only so many are kept."""
    monkeypatch.setattr(net, "MAX_KNOWN", 10)
    async with resolving(Names()) as (resolver, _):
        for number in range(35):
            await asyncio.gather(resolver.resolve(f"{number}.contoso.example"), return_exceptions=True)
        assert 10 >= len(resolver._known)


async def test_https_keeps_to_the_networks_family_too() -> None:
    """Token requests use the addresses of the chosen family; a host without one is a failed look-up."""
    async with resolving(Names(), Network(family=Family.IPV6)) as (resolver, _):
        assert ["::1"] == [found["host"] for found in await _HttpResolver(resolver).resolve(HOST, 443)]
    names = Names()
    names.known[HOST] = LOOPBACKS[1:]
    async with resolving(names, Network(family=Family.IPV6)) as (resolver, _):
        with pytest.raises(socket.gaierror, match="no ipv6 address"):
            await _HttpResolver(resolver).resolve(HOST, 443)


def test_what_is_no_address_is_not_taken_for_one() -> None:
    """An address has a family; a name has none."""
    assert socket.AF_INET6 == ip_of("::1").family
    with pytest.raises(ValueError, match="contoso"):
        ip_of("contoso")
