"""A whole check over IPv6 on loopback, to the simulator behind a forwarder."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from checks.core.clock import SystemClock
from checks.core.cloud import Endpoint, Family
from checks.core.kit import Ip, Network
from checks.core.model import EndpointSeen, Kind, Outcome, Phase
from checks.wire.net import PooledResolver
from tests.checks.lab import Lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOTH = (Ip(socket.AF_INET, "127.0.0.1"), Ip(socket.AF_INET6, "::1"))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def forwarder(port: int) -> AsyncIterator[int]:
    """A port of ::1, and of ::1 only, that leads to one of 127.0.0.1."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.TaskGroup() as both:
            both.create_task(_pipe(reader, back))
            both.create_task(_pipe(there, writer))

    async with await asyncio.start_server(forward, "::1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("family", "seen", "kind"),
    [(Family.IPV6, "::1", None), (Family.ANY, "::1", None), (Family.IPV4, "", Kind.REFUSED)],
)
async def test_mail_is_probed_by_the_networks_family(lab: Lab, family: Family, seen: str, kind: Kind | None) -> None:
    """A host that answers on ::1 only works by IPv6 and by any family, and by IPv4 it refuses in connect."""
    resolver = PooledResolver(SystemClock(), Network(family=family), lambda _: BOTH)
    here = Lab(lab.office, dataclasses.replace(lab.kit, resolver=resolver))
    async with forwarder(lab.office.smtp_port) as port:
        endpoint = Endpoint(host="localhost", port=port, ca_file=str(lab.office.ca_file))
        result = await here.run("smtp_auth", dataclasses.replace(here.mailbox(), endpoint=endpoint))
    if kind is None:
        assert Outcome.PASS is result.outcome, result.findings
        assert [seen] == [fact.ip for fact in result.facts if isinstance(fact, EndpointSeen)]
    else:
        evidence = result.worst.evidence
        assert (Phase.CONNECT, kind, "network.refused") == (evidence.phase, evidence.kind, result.worst.cause)
