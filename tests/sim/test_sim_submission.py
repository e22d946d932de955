"""What the simulated Exchange Online makes of messages: taken, refused, throttled, counted."""

from __future__ import annotations

import asyncio
import smtplib
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from monitor.sim.contoso import TENANT_ID
from monitor.sim.records import Mailbox
from monitor.sim.traffic import ERRORS_TOO_MANY
from tests.sim.sim_peer import BILLING, CANARY, SCOPE, Peer, xoauth2
from tests.sim.submission import BUSY, MESSAGE, NO_LOGON, SEND_AS_DENIED, is_refusal, send, submitted, text

if TYPE_CHECKING:
    from monitor.sim import Microsoft365


FULL = "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded"
TODAY = (
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a "
    "permanent exception with message The message can't be submitted because the sender's submission quota was exceeded."
)
REFUSED_MESSAGES: list[tuple[str, dict[str, str], str]] = [
    ("permission_missing", {}, NO_LOGON),
    ("permission_propagating", {}, NO_LOGON),
    ("send_as_denied", {}, SEND_AS_DENIED.format(mailbox=BILLING, sender=BILLING)),
    ("mailbox_full", {}, FULL),
    ("mailbox_busy", {}, BUSY),
    ("recipient_quota_exceeded", {}, TODAY),
    ("sender_restricted", {}, "550 5.1.8 Access denied, bad outbound sender"),
    *(
        ("sender_throttled", {"reason": reason}, f"550 5.2.{code} Sender throttled due to continuous {reason} errors.")
        for code, reason in (
            (251, "mailbox full"),
            (252, "send as denied"),
            (253, "invalid license"),
            (254, "too many recipients"),
            (255, "invalid recipients"),
        )
    ),
]


@pytest.mark.parametrize(
    ("fault", "settings", "expected"), REFUSED_MESSAGES, ids=[one[2][:13].strip() for one in REFUSED_MESSAGES]
)
async def test_a_message_is_refused_only_after_its_final_dot(
    office: Microsoft365, peer: Peer, fault: str, settings: dict[str, str], expected: str
) -> None:
    """AUTH, MAIL and RCPT succeed; the reply to DATA's end is the one of the real service."""
    await office.inject(fault, BILLING, settings)
    assert is_refusal(expected, await asyncio.to_thread(submitted, peer))
    counted = office.world.traffic_of(BILLING)
    assert (1, 0, 1) == (counted.auth_accepted, counted.messages_accepted, counted.messages_refused)


@pytest.mark.parametrize(
    ("sender", "message"),
    [(CANARY, MESSAGE), (BILLING, MESSAGE.replace(f"From: {BILLING}", f"From: Canary <{CANARY}>"))],
    ids=["envelope", "header"],
)
async def test_both_senders_need_send_as(peer: Peer, sender: str, message: str) -> None:
    """Neither the envelope nor the From header may name an address without Send As."""
    expected = SEND_AS_DENIED.format(mailbox=BILLING, sender=CANARY)
    assert is_refusal(expected, await asyncio.to_thread(submitted, peer, message, sender))


async def test_send_as_lets_another_address_through(office: Microsoft365, peer: Peer) -> None:
    """An address on the mailbox's Send As list may be sent from."""
    office.world.declare(Mailbox(BILLING, TENANT_ID, send_as=(BILLING, "noreply@contoso.example")))
    message = MESSAGE.replace(f"From: {BILLING}", "From: noreply@contoso.example")
    reply = await asyncio.to_thread(submitted, peer, message, "noreply@contoso.example")
    assert reply.startswith("250 2.0.0 OK <")


async def test_the_fourth_session_of_a_mailbox_cannot_send(office: Microsoft365, peer: Peer) -> None:
    """Three sessions of one mailbox send; the fourth gets 432 until one of them has left."""

    def talk() -> list[str]:
        token = peer.token()
        with ExitStack() as stack:
            sessions = [stack.enter_context(peer.logged_on(token=token)) for _ in range(4)]
            replies = [send(session) for session in sessions]
            sessions[0].quit()
            return [*replies, send(sessions[3])]

    *sent, fourth, after = await asyncio.to_thread(talk)
    assert [True, True, True] == [reply.startswith("250 ") for reply in sent]
    assert is_refusal(BUSY, fourth)
    assert after.startswith("250 ")
    assert 4 == office.world.traffic_of(BILLING).most_open


async def test_errors_that_go_on_throttle_the_mailbox(office: Microsoft365, peer: Peer) -> None:
    """A repaired mailbox stays blocked when it was hammered while it was full."""
    fault = await office.inject("mailbox_full", BILLING)

    def hammer() -> list[str]:
        with peer.logged_on() as session:
            return [send(session) for _ in range(ERRORS_TOO_MANY + 1)]

    *full, throttled = await asyncio.to_thread(hammer)
    await office.repair(fault.id)
    still = await asyncio.to_thread(submitted, peer)
    expected = "550 5.2.251 Sender throttled due to continuous mailbox full errors."
    assert [True] * ERRORS_TOO_MANY == [is_refusal(FULL, reply) for reply in full]
    assert [True, True] == [is_refusal(expected, reply) for reply in (throttled, still)]


async def test_a_day_has_a_limit_of_recipients(office: Microsoft365, peer: Peer) -> None:
    """Recipients are added up over a day."""
    office.world.declare(Mailbox(BILLING, TENANT_ID, daily_recipients=1))
    first = await asyncio.to_thread(submitted, peer)
    second = await asyncio.to_thread(submitted, peer)
    assert first.startswith("250 ")
    assert is_refusal(TODAY, second)


async def test_a_taken_message_is_in_the_log(office: Microsoft365, peer: Peer) -> None:
    """A submission keeps who sent what to whom, with its dots as they were."""
    message = MESSAGE + "..\r\n.dot\r\n"
    reply = await asyncio.to_thread(submitted, peer, message)
    (kept,) = office.world.submissions
    assert (BILLING, "billing-mailer", BILLING, (CANARY,)) == (kept.mailbox, kept.app, kept.sender, kept.recipients)
    assert message.encode() == kept.content
    assert reply == kept.reply
    expected = {"message_id": "<1@probe.example>", "subject": "Probe", "accepted": True}
    assert expected == {name: kept.describe()[name] for name in expected}


async def test_a_message_can_come_in_chunks(office: Microsoft365, peer: Peer) -> None:
    """BDAT works, because CHUNKING is offered."""

    def talk() -> list[int]:
        half = len(MESSAGE) // 2
        with peer.logged_on() as session:
            session.mail(BILLING)
            session.rcpt(CANARY)
            session.send(f"BDAT {half}\r\n{MESSAGE[:half]}BDAT {len(MESSAGE) - half} LAST\r\n{MESSAGE[half:]}")
            codes = [session.getreply()[0] for _ in range(2)]
            return [*codes, session.docmd("BDAT many LAST")[0]]

    assert [250, 250, 501] == await asyncio.to_thread(talk)
    assert [MESSAGE.encode()] == [one.content for one in office.world.submissions]


async def test_too_many_recipients_are_refused(peer: Peer) -> None:
    """A message has a largest number of recipients."""

    def talk() -> list[str]:
        with peer.logged_on() as session:
            session.mail(BILLING)
            session.send(f"RCPT TO:<{CANARY}>\r\n" * 1001)
            return [text(session.getreply()) for _ in range(1001)]

    *taken, last = await asyncio.to_thread(talk)
    assert {"250 2.1.5 Recipient OK"} == set(taken)
    assert is_refusal("452 4.5.3 Too many recipients", last)


@pytest.mark.parametrize(("fault", "taken"), [("closed", 1), ("reset", 1), ("smtp_reply", 0)])
async def test_a_lost_reply_is_not_a_lost_message(office: Microsoft365, peer: Peer, fault: str, taken: int) -> None:
    """A connection lost after the final dot leaves the message delivered; a literal refusal does not."""
    settings = {"phase": "accept", **({"reply": "451 4.3.0 No"} if fault == "smtp_reply" else {})}
    await office.inject(fault, "smtp", settings)

    def talk() -> None:
        with pytest.raises((smtplib.SMTPException, OSError)), peer.logged_on() as session:
            session.sendmail(BILLING, [CANARY], MESSAGE)

    await asyncio.to_thread(talk)
    assert taken == len(office.world.submissions)


async def test_two_hundred_sessions_at_once(office: Microsoft365, peer: Peer) -> None:
    """200 sessions of as many mailboxes each send their message, and none is counted twice."""
    addresses = [f"load{number}@contoso.example" for number in range(200)]
    for address in addresses:
        office.world.declare(Mailbox(address, TENANT_ID))
    token = await asyncio.to_thread(peer.token, scope=SCOPE)
    arrived = asyncio.Barrier(len(addresses))

    async def one(address: str) -> str:
        reader, writer = await asyncio.open_connection("localhost", office.smtp_port)
        try:
            await reader.readuntil(b"\r\n")
            writer.write(b"EHLO probe.example\r\n")
            await reader.readuntil(b"250 SMTPUTF8\r\n")
            writer.write(b"STARTTLS\r\n")
            await reader.readuntil(b"\r\n")
            await writer.start_tls(peer.tls, server_hostname="localhost")
            writer.write(b"EHLO probe.example\r\n")
            await reader.readuntil(b"250 SMTPUTF8\r\n")
            writer.write(f"AUTH XOAUTH2 {xoauth2(address, token)}\r\n".encode())
            await reader.readuntil(b"\r\n")
            await arrived.wait()  # all are open now
            writer.write(f"MAIL FROM:<{address}>\r\nRCPT TO:<{CANARY}>\r\nDATA\r\n".encode())
            for _ in range(3):
                await reader.readuntil(b"\r\n")
            writer.write(MESSAGE.replace(BILLING, address).encode() + b".\r\n")
            reply = (await reader.readuntil(b"\r\n")).decode()
            writer.write(b"QUIT\r\n")
            await reader.readuntil(b"\r\n")
            return reply
        finally:
            writer.close()
            await writer.wait_closed()

    replies = await asyncio.gather(*(one(address) for address in addresses))
    assert {"250 2.0.0 OK"} == {reply[:12] for reply in replies}
    counts = [counted(office, address) for address in addresses]
    assert [(1, 1, 1)] * 200 == counts


def counted(office: Microsoft365, address: str) -> tuple[int, int, int]:
    """Sessions, most of them at once, and messages of one mailbox."""
    traffic = office.world.traffic_of(address)
    return traffic.sessions, traffic.most_open, traffic.messages_accepted
