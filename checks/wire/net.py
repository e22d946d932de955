"""Names and connections: a resolver in bounded threads of its own, and sockets by Happy Eyeballs (RFC 8305)."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Thread

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType

from checks.core.clock import Clock
from checks.core.cloud import Endpoint, Family
from checks.core.kit import Ip, Network, Resolver
from checks.core.model import Kind, Phase, Protocol
from checks.core.trace import Trace
from checks.wire.faults import failure_of

# getaddrinfo does not tell a record's time to live; the mail hosts of Microsoft 365 use 5 minutes and less.
TTL = 60.0
# Name servers that are down are not asked anew by each of thousands of probes; RFC 2308, section 7, allows 5 minutes.
FAILED_FOR = 5.0
# Look-ups at one time: they wait, they do not compute.
SLOTS = 16
# libc's own patience is 2 attempts of 5 s with each of up to 3 name servers (resolv.conf(5)).
GIVE_UP = 30.0
# Hosts stand in the configuration and in what authorities say of themselves: a few, unless somebody plays with us.
MAX_KNOWN = 1000
# The pause before the next address is tried: RFC 8305, section 8, "Connection Attempt Delay".
ATTEMPT_DELAY = 0.25
# The code of a failure that lies in our own source address.
SOURCE_ADDRESS = "source_address"

_FAMILIES = {
    Family.ANY: (socket.AF_INET, socket.AF_INET6),
    Family.IPV4: (socket.AF_INET,),
    Family.IPV6: (socket.AF_INET6,),
}
_NAMES = {Family.ANY: "IP", Family.IPV4: "IPv4", Family.IPV6: "IPv6"}
# Addresses, or why there are none.
_Answer = tuple[Ip, ...] | OSError
LookUp = Callable[[str], tuple[Ip, ...]]
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class PooledResolver:
    """The system's resolver, asked once per name and `TTL`, however many probes want it.

    An answer is used for `TTL` and never longer; that there is none is remembered for `FAILED_FOR`. A hung look-up can
    not be stopped. After `GIVE_UP` it no longer holds its slot, and its host is not asked again while it still hangs: so
    hung look-ups are at most one per host, and keep the others waiting for a while but not for ever.
    """

    def __init__(self, clock: Clock, network: Network, look_up: LookUp | None = None) -> None:
        self.network = network
        self._clock = clock
        self._look_up = look_up or _look_up
        self._slots = asyncio.Semaphore(SLOTS)
        self._known: dict[str, tuple[float, _Answer]] = {}
        self._asked: dict[str, asyncio.Task[_Answer]] = {}
        self._threads: dict[str, asyncio.Future[_Answer]] = {}

    async def resolve(self, host: str) -> tuple[Ip, ...]:
        """All addresses of a host. Raises OSError (socket.gaierror) when there are none or the name servers are silent.

        Who is cancelled does not cancel the look-up for the others.
        """
        until, answer = self._known.get(host, (0.0, ()))
        if self._clock.monotonic() >= until:
            asked = self._asked.get(host)
            if asked is None:
                asked = self._asked[host] = asyncio.create_task(self._ask(host), name=f"resolve {host}")
                asked.add_done_callback(lambda _: self._asked.pop(host, None))
            answer = await asyncio.shield(asked)
        if isinstance(answer, OSError):
            raise type(answer)(*answer.args)  # a new one for each: the traceback of a shared one would grow with each
        return answer

    async def close(self) -> None:
        """End every look-up that is waited for. Threads that hang end with libc's patience, or with the process."""
        asked = [*self._asked.values()]
        for waited_for in [*asked, *self._threads.values()]:
            waited_for.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, host: str) -> _Answer:
        answer: _Answer
        if host in self._threads:
            answer = socket.gaierror(socket.EAI_AGAIN, f"the look-up before still hangs after {GIVE_UP:g} s")
        else:
            async with self._slots:
                thread = self._threads[host] = self._start(host)
                thread.add_done_callback(lambda _: self._threads.pop(host, None))
                done, _ = await asyncio.wait([thread], timeout=GIVE_UP)
            silent = socket.gaierror(socket.EAI_AGAIN, f"no answer from the name servers within {GIVE_UP:g} s")
            answer = thread.result() if done else silent
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        lasts = FAILED_FOR if isinstance(answer, OSError) else TTL
        self._known[host] = self._clock.monotonic() + lasts, answer
        return answer

    def _start(self, host: str) -> asyncio.Future[_Answer]:
        """A look-up in a daemon thread of its own: those of an executor would keep the program from ending."""
        answer: Future[_Answer] = Future()
        answer.set_running_or_notify_cancel()  # from here on nobody can cancel it, so that a result can always be set

        def work() -> None:
            try:
                answer.set_result(self._look_up(host) or socket.gaierror(socket.EAI_NONAME, "no address"))
            except OSError as error:
                answer.set_result(error)
            except UnicodeError as error:  # a host name that IDNA can not encode
                answer.set_result(socket.gaierror(socket.EAI_NONAME, str(error)))
            except BaseException as defect:  # noqa: BLE001 - handed over to who waits, as an executor does
                answer.set_exception(defect)

        wrapped = asyncio.wrap_future(answer)
        Thread(target=work, name="mailcanary-resolve", daemon=True).start()
        return wrapped


def _look_up(host: str) -> tuple[Ip, ...]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(Ip(family, str(address[0])) for family, _, _, _, address in found))


async def connect(
    endpoint: Endpoint,
    resolver: Resolver,
    trace: Trace,
    protocol: Protocol,
    *,
    family: Family = Family.ANY,
    ip: str = "",
) -> socket.socket:
    """A connected socket, timed as the phases resolve and connect. The caller owns it. Raises Failure.

    `family` keeps to addresses of one family; without one the network's own choice holds. `ip` pins one address: then
    there is nothing to look up, and no phase resolve. The local address is the network's `source_address`. A host
    without an address of the family is a failure to resolve with the code `no_ipv4` or `no_ipv6`; a source address that
    can not be used is our own failure (`internal`) with the code `source_address`.
    """
    network = resolver.network
    if ip:
        ips: tuple[Ip, ...] = (ip_of(ip),)
    else:
        with trace.phase(Phase.RESOLVE, protocol):
            ips = await _resolved(endpoint.host, resolver, trace, network.family if family is Family.ANY else family)
    with trace.phase(Phase.CONNECT, protocol):
        source = ip_of(network.source_address) if network.source_address else None
        if source is not None:
            ips = tuple(one for one in ips if one.family == source.family)
            if not ips:
                text = f"{source.ip} can not reach {ip or endpoint.host}: no address of the same family"
                raise trace.failure(Kind.INTERNAL, text, code=SOURCE_ADDRESS)
        try:
            return await aiohappyeyeballs.start_connection(
                [_address_info(one, endpoint.port) for one in ips],
                happy_eyeballs_delay=ATTEMPT_DELAY,
                interleave=1,
                socket_factory=None if source is None else lambda info: _bound(info, source),
            )
        except _SourceError as error:
            raise trace.failure(Kind.INTERNAL, str(error), code=SOURCE_ADDRESS) from error
        except OSError as error:
            raise failure_of(_telling(error), trace) from error


def ip_of(address: str) -> Ip:
    """An address as text, with its family. Raises ValueError for what is none."""
    version = ipaddress.ip_address(address).version
    return Ip(socket.AF_INET if version == 4 else socket.AF_INET6, address)  # noqa: PLR2004 - IPv4


async def _resolved(host: str, resolver: Resolver, trace: Trace, family: Family) -> tuple[Ip, ...]:
    try:
        ips = await resolver.resolve(host)
    except OSError as error:
        raise trace.failure(Kind.RESOLVE, f"{host}: {error}") from error
    ips = of_family(ips, family)
    if not ips:
        raise trace.failure(Kind.RESOLVE, f"{host} has no {_NAMES[family]} address", code=f"no_{family}")
    return ips


def of_family(ips: Iterable[Ip], family: Family) -> tuple[Ip, ...]:
    """Those addresses that belong to a family."""
    wanted = _FAMILIES[family]
    return tuple(one for one in ips if one.family in wanted)


def _address_info(one: Ip, port: int) -> AddrInfoType:
    address: tuple[str, int] | tuple[str, int, int, int] = (one.ip, port)
    if one.family == socket.AF_INET6:
        address = (one.ip, port, 0, 0)
    return one.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address


class _SourceError(OSError):
    """The local address can not be used: it is not on this host, or has no port left."""


def _bound(info: AddrInfoType, source: Ip) -> socket.socket:
    sock = socket.socket(info[0], info[1], info[2])
    try:
        sock.bind((source.ip, 0))
    except OSError as error:
        sock.close()
        raise _SourceError(error.errno, f"{source.ip}: {error.strerror}") from error
    return sock


def _telling(error: OSError) -> OSError:
    """Failures of several addresses that differ, which come without an errno: the one that tells most gives it.

    A host that refuses was reached; one family without a route is the usual lot of hosts with IPv4 only.
    """
    if error.errno is not None:
        return error
    seen = {int(number) for number in _ERRNO.findall(str(error))}
    number = min(seen, key=lambda one: (one != errno.ECONNREFUSED, one in _NO_ROUTE, one), default=None)
    return error if number is None else OSError(number, str(error))
