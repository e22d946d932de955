"""The simulated IMAP server, read by imaplib."""

from __future__ import annotations

import asyncio
import imaplib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from monitor.sim import Microsoft365, contoso
from monitor.sim.imap_syntax import LITERAL_LIMIT
from tests.sim.reading import bracketed, command, connect, found, reading, send
from tests.sim.sim_peer import BILLING, CANARY, Peer

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa

    from monitor.sim import ClientCertificate


async def test_the_greeting_names_the_server_and_basic_is_off(peer: Peer) -> None:
    """The greeting of 2026, XOAUTH2 and LOGINDISABLED before the log-on, more afterwards."""

    def look() -> tuple[bytes, list[str], list[str]]:
        with reading(peer) as session:
            after = command(session, "CAPABILITY")[0]
        with connect(peer) as session:
            return session.welcome, list(session.capabilities), after

    welcome, before, after = await asyncio.to_thread(look)
    assert welcome.startswith(b"* OK Microsoft Exchange IMAP4 service ready. [")
    assert bracketed(welcome).endswith(".PROD.OUTLOOK.COM")
    assert {"AUTH=XOAUTH2", "LOGINDISABLED", "SASL-IR", "UIDPLUS"} <= set(before)
    assert "AUTH=PLAIN" not in before
    assert "BACKENDAUTHENTICATE" in after[0]
    assert "LOGINDISABLED" not in after[0]


async def test_the_old_greeting_is_there_for_those_who_ask(
    tmp_path: Path, signing_key: rsa.RSAPrivateKey, hr_certificate: ClientCertificate
) -> None:
    """Until 2026 the greeting was another one, PLAIN was offered, and a password was refused without a reason."""
    declared = contoso(hr_certificate=hr_certificate)
    async with Microsoft365(tmp_path, declared, key=signing_key, old_imap_greeting=True) as office:

        def look() -> tuple[bytes, tuple[str, ...], str]:
            with connect(Peer(office, hr_certificate)) as session:
                return session.welcome, session.capabilities, command(session, "LOGIN user password")[1]

        welcome, offered, refused = await asyncio.to_thread(look)
    assert welcome.startswith(b"* OK The Microsoft Exchange IMAP4 service is ready. [")
    assert "AUTH=PLAIN" in offered
    assert "LOGINDISABLED" not in offered
    assert "NO LOGIN failed." == refused


@pytest.mark.parametrize("line", ["LOGIN canary@contoso.example secret", "AUTHENTICATE PLAIN AGEAYg=="])
async def test_passwords_are_refused_and_the_connection_is_closed(peer: Peer, line: str) -> None:
    """Basic authentication is disabled, whoever asks; the server signs off."""

    def talk() -> tuple[str, bytes, bytes]:
        with connect(peer) as session:
            session.send(f"X1 {line}\r\n".encode())
            answers = session.readline(), session.readline(), session.readline()
        return answers[0].decode().strip(), answers[1].strip(), answers[2]

    answers = await asyncio.to_thread(talk)
    assert ("X1 NO Basic authentication is disabled.", b"") == (answers[0], answers[2])
    assert b"* BYE Microsoft Exchange Server IMAP4 server signing off." == answers[1]


async def test_throttling_tells_how_long_to_wait(office: Microsoft365, peer: Peer) -> None:
    """Commands are refused with the suggested time, LOGOUT is not."""
    await office.inject("imap_throttled", CANARY)

    def talk() -> list[str]:
        with reading(peer) as session:
            return [command(session, line)[1] for line in ("EXAMINE INBOX", 'LIST "" "*"', "LOGOUT")]

    answers = await asyncio.to_thread(talk)
    throttled = "BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds"
    assert [throttled, throttled, "OK LOGOUT completed."] == answers


async def test_folders_tell_their_special_use(peer: Peer) -> None:
    """Junk, Sent Items and the others are found by their attribute, whatever their name."""

    def look() -> list[tuple[list[str], str]]:
        with reading(peer) as session:
            return [command(session, line) for line in ('LIST "" "*"', 'LIST "" inbox', 'LIST "" "")', "LIST x")]

    everything, one, wrong, short = await asyncio.to_thread(look)
    assert "OK LIST completed." == everything[1]
    assert [
        '* LIST (\\HasNoChildren) "/" INBOX',
        '* LIST (\\HasNoChildren \\Drafts) "/" Drafts',
        '* LIST (\\HasNoChildren \\Sent) "/" "Sent Items"',
        '* LIST (\\HasNoChildren \\Trash) "/" "Deleted Items"',
        '* LIST (\\HasNoChildren \\Junk) "/" "Junk Email"',
    ] == everything[0]
    assert ['* LIST (\\HasNoChildren) "/" INBOX'] == one[0]
    assert ["BAD Command Argument Error. 11"] * 2 == [wrong[1], short[1]]


async def test_a_message_is_searched_fetched_and_removed(peer: Peer) -> None:
    """The whole life of a canary in an inbox: found by header, read without a trace, marked, expunged by its UID."""
    before = datetime.now(UTC).replace(microsecond=0)

    def live() -> None:
        send(peer, "one")
        send(peer, "two")
        with reading(peer) as session:
            assert (b"2", "OK") == (session.select()[1][0], session.select()[0])
            assert [b"2"] == session.uid("SEARCH", "HEADER", "X-Probe-Id", "two")[1]
            assert [b"1 2"] == session.uid("SEARCH", "SUBJECT", '"probe"')[1]
            assert [b"1 2"] == session.uid("SEARCH", "ALL", "UNSEEN", "SINCE", f"{before:%d-%b-%Y}")[1]
            assert [b"2"] == session.uid("SEARCH", "NOT", "OR", "UID", "1", "HEADER", "X-Probe-Id", "three")[1]
            assert [b"1 2"] == session.uid("SEARCH", "1:5000", "OR", "HEADER", "X-Probe-Id", '""', "SUBJECT", "no")[1]
            assert [b""] == session.uid("SEARCH", "BEFORE", f"{before:%d-%b-%Y}")[1]
            asked = "(INTERNALDATE FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (Message-ID x-probe-id)])"
            (line, fields), _ = session.uid("FETCH", "2", asked)[1]
            assert b"Message-ID: <two@probe.example>" in fields
            assert b"X-Probe-Id: two" in fields
            assert b"Subject" not in fields
            assert fields.endswith(b"\r\n\r\n")
            (_, whole), _ = session.uid("FETCH", "2", "(BODY.PEEK[])")[1]
            assert b"\r\n\r\nBody.\r\n" in whole
            assert re.search(rb"^2 \(UID 2 ", line)
            assert b"RFC822.SIZE %d" % len(whole) in line
            assert b"FLAGS ()" in line
            arrived = imaplib.Internaldate2tuple(line)
            assert arrived is not None
            assert b"\\Deleted" in session.uid("STORE", "2", "+FLAGS", "(\\Deleted)")[1][0]
            assert ["* 2 EXPUNGE"] == command(session, "UID EXPUNGE 1:*")[0]
            assert ["OK EXPUNGE completed."] == [command(session, "EXPUNGE")[1]]
            assert {"INBOX": 1} == found(session, "one")
            assert {} == found(session, "two")
            assert "BYE" == session.logout()[0]

    await asyncio.to_thread(live)


async def test_expunge_spares_what_is_not_marked(peer: Peer) -> None:
    """UID EXPUNGE removes what is marked and named, and no other; EXAMINE lets nobody remove anything."""

    def live() -> tuple[str, list[str], bytes]:
        for ident in ("one", "two", "three"):
            send(peer, ident)
        with reading(peer) as session:
            session.select(readonly=True)
            refused = command(session, "UID STORE 1 +FLAGS.SILENT (\\Deleted)")[1]
            session.select()
            session.uid("STORE", "1,3", "+FLAGS.SILENT", "(\\Deleted)")
            gone = command(session, "UID EXPUNGE 2:3")[0]
            return refused, gone, session.uid("SEARCH", "ALL")[1][0]

    assert ("NO Mailbox is read-only.", ["* 3 EXPUNGE"], b"1 2") == await asyncio.to_thread(live)


async def test_mail_that_comes_while_a_folder_is_open_is_told(peer: Peer) -> None:
    """NOOP tells of new messages and of those that another session removed."""

    def live() -> list[list[str]]:
        send(peer, "one")
        with reading(peer) as first, reading(peer) as second:
            first.select()
            second.select()
            second.store("1", "+FLAGS", "(\\Deleted)")
            second.expunge()
            send(peer, "two")
            second.noop()
            return [command(first, "NOOP")[0], command(first, "FETCH 1 (UID)")[0], command(first, "NOOP")[0]]

    assert [["* 1 EXPUNGE", "* 1 EXISTS"], ["* 1 FETCH (UID 2)"], []] == await asyncio.to_thread(live)


async def test_literals_are_taken_with_and_without_waiting(peer: Peer) -> None:
    """A literal is asked for, one with a plus comes at once, one that is too long ends the session."""

    def live() -> tuple[bytes, bytes, list[str], list[bytes]]:
        send(peer, "one")
        with reading(peer) as session:
            session.select()
            session.send(b"X1 UID SEARCH HEADER X-Probe-Id {3}\r\n")
            asked = session.readline()
            session.send(b"one\r\n")
            first = session.readline()
            session.readline()
            second = command(session, "UID SEARCH SUBJECT {9+}\r\nProbe one")[0]
            session.send(b"X2 UID SEARCH SUBJECT {%d+}\r\n" % (LITERAL_LIMIT + 1))
            return asked, first, second, [session.readline(), session.readline()]

    asked, first, second, end = await asyncio.to_thread(live)
    assert asked.startswith(b"+ ")
    assert (b"* SEARCH 1\r\n", ["* SEARCH 1"]) == (first, second)
    assert [b"* BYE Connection closed. 10\r\n", b""] == end


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("JUMP", "BAD Command Error. 10"),
        ("FETCH 1 (FLAGS)", "BAD Command received in Invalid state."),
        ("LOGIN a b", "BAD Command received in Invalid state."),
        ("SELECT Nowhere", "NO Nowhere doesn't exist."),
        ("SELECT", "BAD Command Argument Error. 11"),
        ("SELECT (INBOX", "BAD Command Argument Error. 11"),
        ("STATUS INBOX (MESSAGES UIDNEXT)", "OK STATUS completed."),
        ("STATUS INBOX (WEIGHT)", "BAD Command Argument Error. 11"),
        ("NAMESPACE", "OK NAMESPACE completed."),
        ("ID NIL", "OK ID completed."),
    ],
)
async def test_commands_are_taken_in_their_state_only(peer: Peer, line: str, answer: str) -> None:
    """What is unknown, out of place or malformed is refused, and the session goes on."""

    def talk() -> list[str]:
        with reading(peer) as session:
            return [command(session, line)[1], command(session, "NOOP")[1]]

    assert [answer, "OK NOOP completed."] == await asyncio.to_thread(talk)


@pytest.mark.parametrize(
    "line",
    [
        "UID FETCH 1 ()",
        "UID FETCH x (FLAGS)",
        "UID FETCH 1 (ENVELOPE)",
        "UID SEARCH",
        "UID SEARCH HEADER Subject",
        "UID SEARCH SINCE 31-Feb-2026",
        "UID SEARCH SINCE yesterday",
        "UID SEARCH ((((((ALL))))))",
        "UID SEARCH NOT NOT NOT NOT ALL",
        "UID SEARCH OR ALL",
        "UID STORE 1 FLAGS",
        "UID STORE 1 ?FLAGS (\\Seen)",
        "UID EXPUNGE",
    ],
)
async def test_wrong_arguments_are_refused(peer: Peer, line: str) -> None:
    """Malformed sets, items and keys are told, and nothing is changed."""

    def talk() -> tuple[str, list[bytes]]:
        send(peer, "one")
        with reading(peer) as session:
            session.select()
            return command(session, line)[1], session.uid("SEARCH", "UNSEEN", "UNDELETED")[1]

    assert ("BAD Command Argument Error. 11", [b"1"]) == await asyncio.to_thread(talk)


async def test_every_mailbox_has_its_own_mail(peer: Peer) -> None:
    """What was sent to one mailbox is in no other one."""

    def look() -> list[dict[str, int]]:
        send(peer, "one")
        with reading(peer) as session, reading(peer, "noreply@contoso.example") as other, reading(peer, BILLING) as own:
            return [found(session, "one"), found(other, "one"), found(own, "one")]

    assert [{"INBOX": 1}, {}, {"Sent Items": 1}] == await asyncio.to_thread(look)
