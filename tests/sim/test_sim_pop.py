"""The simulated POP server, asked by poplib."""

from __future__ import annotations

import asyncio
import poplib
from typing import TYPE_CHECKING

import pytest

from tests.sim.reading import bracketed, pop, pop_log_on, reader_token, send
from tests.sim.sim_peer import CANARY, Peer

if TYPE_CHECKING:
    from monitor.sim import Microsoft365

OK = "+OK User successfully authenticated."
FAILED = "-ERR Authentication failure: unknown user name or bad password."


async def test_a_mailbox_is_opened_and_counted(peer: Peer) -> None:
    """Greeting, capabilities, AUTH XOAUTH2 in two lines, and the messages in the Inbox with their sizes."""

    def talk() -> None:
        send(peer, "one")
        send(peer, "two", body="x" * 100)
        with pop(peer) as session:
            assert session.getwelcome().startswith(b"+OK Microsoft Exchange POP3 server ready")
            assert bracketed(session.getwelcome()).endswith(".PROD.OUTLOOK.COM")
            assert {"SASL": ["XOAUTH2"]} == session.capa()
            assert pop_log_on(session, CANARY, reader_token(peer)) == OK
            count, size = session.stat()
            lines = session.list()[1]
            sizes = [int(line.split()[1]) for line in lines]
            assert (2, sum(sizes), 95) == (count, size, sizes[1] - sizes[0])
            assert b"+OK 2 %d" % sizes[1] == session.list(2)
            assert session.noop().startswith(b"+OK")
            assert session.quit().startswith(b"+OK")

    await asyncio.to_thread(talk)


REFUSED = {
    "consent_revoked": "mailcanary-reader",
    "exchange_unregistered": "mailcanary-reader",
    "permission_missing": CANARY,
    "pop_disabled": CANARY,
    "licence_removed": CANARY,
    "not_connected": CANARY,
}


@pytest.mark.parametrize(("fault", "subject"), REFUSED.items())
async def test_every_trouble_is_one_refusal(office: Microsoft365, peer: Peer, fault: str, subject: str) -> None:
    """POP says of every trouble with app or mailbox that name or password are wrong, and lets nobody on."""
    await office.inject(fault, subject)

    def talk() -> tuple[str, str]:
        with pop(peer) as session:
            refusal = pop_log_on(session, CANARY, reader_token(peer))
            with pytest.raises(poplib.error_proto) as stat:
                session.stat()
            return refusal, str(stat.value.args[0], "utf-8")

    assert (FAILED, "-ERR Command is not valid in this state.") == await asyncio.to_thread(talk)


async def test_a_token_for_imap_alone_is_no_token_for_pop(peer: Peer) -> None:
    """A token without POP's role, one with Graph's audience and nonsense are refused."""

    def talk() -> list[str]:
        tokens = [peer.token(), reader_token(peer, scope="https://graph.microsoft.com/.default"), "abc"]
        answers = []
        for token in tokens:
            with pop(peer) as session:
                answers.append(pop_log_on(session, CANARY, token))
        return answers

    assert [FAILED] * 3 == await asyncio.to_thread(talk)


async def test_imap_switched_off_leaves_pop_alone(office: Microsoft365, peer: Peer) -> None:
    """Each protocol has its own switch."""
    await office.inject("imap_disabled", CANARY)

    def talk() -> str:
        with pop(peer) as session:
            return pop_log_on(session, CANARY, reader_token(peer))

    assert await asyncio.to_thread(talk) == OK


async def test_an_unavailable_server_says_so_at_the_log_on(office: Microsoft365, peer: Peer) -> None:
    """The log-on is answered with a number of Exchange's own."""
    await office.inject("unavailable", "pop")

    def talk() -> str:
        with pop(peer) as session:
            return pop_log_on(session, CANARY, reader_token(peer))

    assert "-ERR Server Unavailable. 21" == await asyncio.to_thread(talk)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("AUTH XOAUTH2", "-ERR Command is not valid in this state."),
        ("JUMP", "-ERR Protocol error."),
        ("LIST 1", "-ERR The specified message is out of range."),
        ("LIST 99999999999999999999", "-ERR The specified message is out of range."),
    ],
)
async def test_wrong_commands_are_refused_and_the_session_goes_on(peer: Peer, line: str, answer: str) -> None:
    """What is unknown, out of place or out of range is refused."""

    def talk() -> tuple[str, bytes]:
        with pop(peer) as session:
            assert pop_log_on(session, CANARY, reader_token(peer)) == OK
            with pytest.raises(poplib.error_proto) as refused:
                session._shortcmd(line)
            return str(refused.value.args[0], "utf-8"), session.noop()

    assert (answer, b"+OK") == await asyncio.to_thread(talk)


async def test_the_token_never_comes_with_the_command(peer: Peer) -> None:
    """AUTH XOAUTH2 with an initial response is refused: Exchange wants two lines."""

    def talk() -> str:
        with pop(peer) as session:
            with pytest.raises(poplib.error_proto) as refused:
                session._shortcmd("AUTH XOAUTH2 abc")
            return str(refused.value.args[0], "utf-8")

    assert "-ERR Protocol error." == await asyncio.to_thread(talk)
