"""Where accepted mail goes: Inbox, Junk, nowhere, later; and the copy in Sent Items."""

from __future__ import annotations

import asyncio
import smtplib
from datetime import timedelta
from email import message_from_bytes
from typing import TYPE_CHECKING

import pytest

from monitor.sim.contoso import PARTNER_INBOX
from monitor.sim.mail import KEPT_MESSAGES, Folder
from tests.sim.reading import found, message, partner, places, reading, send
from tests.sim.sim_peer import BILLING, CANARY, Peer, fixed_moment

if TYPE_CHECKING:
    from monitor.sim import Microsoft365

NOREPLY = "noreply@contoso.example"


async def test_a_message_arrives_everywhere_it_was_sent_to(peer: Peer) -> None:
    """Each recipient gets one copy, whether here or at the partner's; the sender keeps one in Sent Items."""

    def go() -> list[dict[str, int]]:
        send(peer, "one", CANARY, NOREPLY, NOREPLY.upper(), PARTNER_INBOX, "somebody@elsewhere.example")
        with partner(peer) as session:
            outside = found(session, "one")
        return [places(peer, "one", user) for user in (CANARY, NOREPLY, BILLING)] + [outside]

    inbox = {"INBOX": 1}
    assert [inbox, inbox, {"Sent Items": 1}, inbox] == await asyncio.to_thread(go)


async def test_a_message_to_oneself_is_in_both_folders(peer: Peer) -> None:
    """What a mailbox sends to itself is in its Inbox, unread, and in Sent Items, read."""

    def go() -> tuple[dict[str, int], list[int]]:
        send(peer, "one", BILLING)
        with reading(peer, BILLING) as session:
            counts = found(session, "one")
            unread = []
            for folder in ("INBOX", '"Sent Items"'):
                session.select(folder, readonly=True)
                unread.append(len(session.search(None, "UNSEEN")[1][0].split()))
            return counts, unread

    assert ({"INBOX": 1, "Sent Items": 1}, [1, 0]) == await asyncio.to_thread(go)


async def test_what_was_refused_is_nowhere(office: Microsoft365, peer: Peer) -> None:
    """A message that is refused after its final dot leaves no trace in any folder."""
    await office.inject("mailbox_full", BILLING)

    def go() -> list[dict[str, int]]:
        with pytest.raises(smtplib.SMTPDataError):
            send(peer, "one")
        return [places(peer, "one"), places(peer, "one", BILLING)]

    assert [{}, {}] == await asyncio.to_thread(go)


async def test_a_lost_reply_loses_no_message(office: Microsoft365, peer: Peer) -> None:
    """When the connection dies at the final dot, the message is delivered all the same."""
    await office.inject("reset", "smtp", {"phase": "accept"})

    def go() -> dict[str, int]:
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
            send(peer, "one")
        return places(peer, "one")

    assert {"INBOX": 1} == await asyncio.to_thread(go)


@pytest.mark.parametrize("subject", [BILLING, CANARY])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [("delivery_lost", {}), ("delivery_junked", {"Junk Email": 1}), ("delivery_delayed", {})],
)
async def test_delivery_goes_wrong_at_either_end(
    office: Microsoft365, peer: Peer, subject: str, fault: str, expected: dict[str, int]
) -> None:
    """A fault of the sender's or of the recipient's mailbox shows at the recipient; Sent Items has its copy."""
    broken = await office.inject(fault, subject)

    def go(ident: str) -> list[dict[str, int]]:
        send(peer, ident)
        return [places(peer, ident), places(peer, ident, BILLING)]

    assert [expected, {"Sent Items": 1}] == await asyncio.to_thread(go, "one")
    await office.repair(broken.id)
    assert [{"INBOX": 1}, {"Sent Items": 1}] == await asyncio.to_thread(go, "two")


async def test_a_delayed_message_arrives_when_its_time_has_come(office: Microsoft365, peer: Peer) -> None:
    """It is not there a moment before, it is there afterwards, and its date is that of its arrival."""
    moment = office.world.now().replace(microsecond=0)
    office.world.now = lambda: moment
    delayed = await office.inject("delivery_delayed", CANARY, {"seconds": 90})

    def arrived(after_s: int) -> bytes:
        office.world.now = lambda: moment + timedelta(seconds=after_s)
        with reading(peer) as session:
            session.select()
            answer: list[bytes] = session.fetch("1:*", "(INTERNALDATE)")[1]
            return answer[0]

    await asyncio.to_thread(send, peer, "one")
    await office.repair(delayed.id)
    assert await asyncio.to_thread(arrived, 89) is None, "what is on its way stays on its way"
    expected = moment + timedelta(seconds=90)
    assert f'"{expected:%d-%b-%Y %H:%M:%S} +0000"'.encode() in await asyncio.to_thread(arrived, 90)


def fetched(peer: Peer) -> bytes:
    """The only message in the canary's inbox."""
    with reading(peer) as session:
        session.select()
        (_, content), _ = session.uid("FETCH", "1", "(BODY.PEEK[])")[1]
        return bytes(content)


async def test_a_message_arrives_unchanged_below_its_trace_fields(peer: Peer) -> None:
    """Work tenants keep what the client wrote, the Message-ID too; the server adds on top."""

    def go() -> bytes:
        send(peer, "one")
        return fetched(peer)

    content = await asyncio.to_thread(go)
    assert content.endswith(message("one").encode())
    assert ["Return-Path", "Received"] == message_from_bytes(content).keys()[:2]
    assert BILLING == message_from_bytes(content)["Return-Path"]


async def test_a_rewritten_message_id_keeps_the_old_one_aside(office: Microsoft365, peer: Peer) -> None:
    """Consumer mailboxes give a new Message-ID; the client's own is in X-Microsoft-Original-Message-ID."""
    await office.inject("message_id_rewritten", BILLING)

    def go() -> bytes:
        send(peer, "one")
        return fetched(peer)

    arrived = message_from_bytes(await asyncio.to_thread(go))
    assert ["<one@probe.example>"] == arrived.get_all("X-Microsoft-Original-Message-ID")
    assert 1 == len(arrived.get_all("Message-ID", []))
    assert arrived["Message-ID"].endswith(".PROD.OUTLOOK.COM>")
    assert ("one", "Probe one") == (arrived["X-Probe-Id"], arrived["Subject"])


async def test_a_reset_forgets_the_mail_and_gives_no_uid_twice(office: Microsoft365, peer: Peer) -> None:
    """After a reset the folders are empty, and the next message has a UID of its own."""

    def uids() -> bytes:
        with reading(peer) as session:
            session.select()
            return bytes(session.uid("SEARCH", "ALL")[1][0])

    await asyncio.to_thread(send, peer, "one")
    seen = [await asyncio.to_thread(uids)]
    await office.reset()
    seen.append(await asyncio.to_thread(uids))
    await asyncio.to_thread(send, peer, "two")
    seen.append(await asyncio.to_thread(uids))
    assert [b"1", b"", b"2"] == seen


def test_a_folder_keeps_the_latest_messages_only() -> None:
    """A folder that nobody cleans is bounded; order and UIDs stay."""
    folder = Folder("INBOX", 1)
    start = fixed_moment()
    for number in range(KEPT_MESSAGES + 5):
        folder.post(start + timedelta(seconds=number), b"%d" % number)
    folder.settle(start + timedelta(days=1))
    unseen = folder.messages[1].content, list(folder.messages)
    folder.post(start, b"last")
    folder.settle(start)
    assert (b"5", list(range(1, KEPT_MESSAGES + 1))) == unseen
    assert list(range(2, KEPT_MESSAGES + 2)) == list(folder.messages)
    assert b"last" == folder.messages[KEPT_MESSAGES + 1].content
