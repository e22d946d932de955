"""Certificates that the servers show in place of their own."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.sim.reading import certificate_end

if TYPE_CHECKING:
    from monitor.sim import Microsoft365
    from tests.sim.sim_peer import Peer

DAY_S = 86_400


@pytest.mark.parametrize("server", ["smtp", "imap", "pop", "entra"])
async def test_a_certificate_that_ends_soon_is_good_until_then(office: Microsoft365, peer: Peer, server: str) -> None:
    """Clients accept it and can read its end; it is one and the same certificate until the repair."""
    healthy = await asyncio.to_thread(certificate_end, peer, server)
    fault = await office.inject("certificate_ends_soon", server, {"days": 9})
    soon = await asyncio.to_thread(certificate_end, peer, server)
    again = await asyncio.to_thread(certificate_end, peer, server)
    await office.repair(fault.id)
    assert abs(soon - time.time() - 9 * DAY_S) < 60
    assert soon == again
    assert healthy == await asyncio.to_thread(certificate_end, peer, server) > soon


async def test_two_faults_of_a_certificate_are_shown_in_turn(office: Microsoft365, peer: Peer) -> None:
    """The later one is shown; what ends soon has its own end each time it is injected."""
    first = await office.inject("certificate_ends_soon", "imap", {"days": 9})
    second = await office.inject("certificate_ends_soon", "imap", {"days": 3})
    ends = [await asyncio.to_thread(certificate_end, peer, "imap")]
    await office.repair(second.id)
    ends.append(await asyncio.to_thread(certificate_end, peer, "imap"))
    await office.repair(first.id)
    assert [3, 9] == [round((end - time.time()) / DAY_S) for end in ends]


async def test_a_session_goes_on_while_a_certificate_is_changed(office: Microsoft365, peer: Peer) -> None:
    """Mail that is being sent is not cut off: who is connected has shaken hands already."""
    with closing(await asyncio.to_thread(peer.smtp)) as session:
        fault = await office.inject("certificate_ends_soon", "smtp")
        assert 250 == (await asyncio.to_thread(session.noop))[0]
        await office.repair(fault.id)
        assert 250 == (await asyncio.to_thread(session.noop))[0]
