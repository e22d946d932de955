"""Faults of the IMAP and POP servers bite in their phase and not before."""

from __future__ import annotations

import asyncio
import imaplib
import poplib
from typing import TYPE_CHECKING

import pytest

from monitor.sim.fault_settings import IMAP_PHASES, POP_PHASES
from tests.sim.reading import command, connect, log_on, pop, pop_log_on, reader_token
from tests.sim.sim_peer import CANARY, Peer

if TYPE_CHECKING:
    from monitor.sim import Microsoft365

IMAP_LINES = {
    "list": 'LIST "" "*"',
    "open": "EXAMINE INBOX",
    "search": "UID SEARCH ALL",
    "fetch": "UID FETCH 1:* (UID)",
    "clean": "EXPUNGE",
    "quit": "LOGOUT",
}


def must(answer: str) -> None:
    """A server that left has no answer."""
    if not answer:
        raise ConnectionError


# imaplib forgets a socket whose handshake was closed before it began.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize("phase", IMAP_PHASES)
async def test_an_imap_fault_bites_in_its_phase_and_not_before(office: Microsoft365, peer: Peer, phase: str) -> None:
    """Every phase before the broken one is answered properly."""
    token = await asyncio.to_thread(reader_token, peer)
    await office.inject("closed", "imap", {"phase": phase})
    answered: list[str] = []

    def talk() -> None:
        with connect(peer) as session:  # asks for the capabilities on its own
            answered.extend(("tls", "banner", "capability"))
            must(log_on(session, CANARY, token))
            answered.append("auth")
            for name, line in IMAP_LINES.items():
                must(command(session, line)[1])
                answered.append(name)

    with pytest.raises((OSError, imaplib.IMAP4.error)):
        await asyncio.to_thread(talk)
    expected = list(IMAP_PHASES[: IMAP_PHASES.index(phase)])
    assert (expected if "auth" in expected or phase == "auth" else []) == answered


@pytest.mark.parametrize("phase", POP_PHASES)
async def test_a_pop_fault_bites_in_its_phase_and_not_before(office: Microsoft365, peer: Peer, phase: str) -> None:
    """Every phase before the broken one is answered properly."""
    token = await asyncio.to_thread(reader_token, peer)
    await office.inject("closed", "pop", {"phase": phase})
    answered: list[str] = []

    def talk() -> None:
        with pop(peer) as session:
            answered.extend(("tls", "banner"))
            session.capa()
            answered.append("capability")
            must(pop_log_on(session, CANARY, token))
            answered.append("auth")
            session.stat()
            answered.append("open")
            session.quit()
            answered.append("quit")

    with pytest.raises((OSError, poplib.error_proto)):
        await asyncio.to_thread(talk)
    expected = list(POP_PHASES[: POP_PHASES.index(phase)])
    assert (expected if "banner" in expected else []) == answered


async def test_the_log_on_of_the_partner_is_not_touched_by_faults_of_exchange(office: Microsoft365, peer: Peer) -> None:
    """The partner's server is another one: what breaks Exchange's leaves it alone."""
    await office.inject("refused", "imap")

    def greeting() -> bytes:
        with connect(peer, office.partner_imap_port) as session:
            return session.welcome

    assert b"* OK partner.example IMAP4rev1 ready" == await asyncio.to_thread(greeting)
