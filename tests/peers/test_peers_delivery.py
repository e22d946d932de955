"""What becomes of canaries that a real Postfix accepted: held, deferred, thrown away, junked, out of room.

Nobody waits: a canary is sent by a clock that shows the past, and the inbox is read by clocks between that and now.
"""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from checks.core.model import Folder, InboxRead, Kind, Level, Outcome, Phase, Sent, Sighting
from checks.registry import CHECKS
from monitor.canaries.delivery import verdict
from monitor.canaries.ledger import Ledger
from monitor.model import Fate, Lateness
from tests.peers.clients import Xoauth2, access_token, imap_client, message
from tests.peers.probes import EarlierClock, credential, inbox, mailbox, run
from tests.peers.process import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from checks.core.model import Finding, Result
    from checks.core.target import Inbox, Mailbox
    from monitor.model import Canary
    from tests.peers.authority import PrivateCA
    from tests.peers.dovecot import Dovecot
    from tests.peers.oidc import Oidc
    from tests.peers.postfix import Postfix

LATENESS = Lateness()  # late after 5 minutes, lost after an hour
JUNK = "Junk Email"


@dataclasses.dataclass
class Trail:
    """One canary on its way from the sender to `target`, as our checks and the ledger follow it."""

    sender: Mailbox
    target: Inbox
    ledger: Ledger
    message_id: str = ""

    async def send(self, *, ago: float) -> None:
        """Send the canary, so long ago by our clock; the server accepts it."""
        settings = CHECKS["canary"].settings(to=(self.target,))
        result = await run("canary", self.sender, settings, clock=EarlierClock(ago))
        assert (Outcome.PASS, ()) == (result.outcome, result.findings)
        (sent,) = [fact for fact in result.facts if isinstance(fact, Sent)]
        assert sent.reply.startswith("2.0.0 Ok: queued")
        self.message_id = f"<{sent.canary_id}.mailcanary@canary.test>"
        assert [Fate.PENDING] == [canary.fate for canary in self.ledger.enter([result])]

    async def look(self, *, ago: float = 0.0) -> Canary | None:
        """Read the inbox, so long ago by our clock; the canary, if its fate is another one now."""
        result = await run("inbox", self.target, clock=EarlierClock(ago))
        assert (Outcome.PASS, ()) == (result.outcome, result.findings)
        changed = self.ledger.enter([result])
        assert len(changed) <= 1
        return changed[0] if changed else None

    def said(self, canary: Canary) -> Result:
        """What the watch `delivery` of the sender is told of it."""
        result = verdict(canary, self.sender, "delivery/sender", datetime.now(UTC))
        assert result is not None
        return result

    async def is_late(self, *, ago: float = 0.0) -> None:
        """The inbox is read, and now the canary is late and the sender's watch degraded."""
        canary = await self.look(ago=ago)
        assert canary is not None
        assert Fate.LATE is canary.fate
        assert ("canary.late", Level.WARN, Phase.SEARCH) == of(self.said(canary).worst)

    async def arrives_late(self, *, after: float) -> None:
        """The inbox is read, and the canary is there; it was said to be late, and that is not said again."""
        canary = await self.look()
        assert canary is not None
        assert (Fate.DELIVERED_LATE, Folder.INBOX, True) == (canary.fate, canary.folder, canary.told_late)
        assert after - 1 <= canary.delay < after + 60  # INTERNALDATE has whole seconds
        assert verdict(canary, self.sender, "delivery/sender", datetime.now(UTC)) is None
        assert await self.look() is None
        assert () == self.ledger.expected


def of(finding: Finding | None) -> tuple[str, Level, Phase]:
    """What a finding comes to."""
    assert finding is not None
    return finding.cause, finding.level, finding.evidence.phase


@pytest.fixture
def trail(oidc: Oidc, postfix: Postfix, dovecot: Dovecot) -> Callable[[str], Trail]:
    """The trail of a canary to one of the mailboxes; no queue holds anything yet."""
    postfix.forget()

    def to(address: str) -> Trail:
        owner = credential(oidc, dovecot, smtp=postfix.port)
        made = Trail(mailbox(owner, dovecot.mailboxes.sender), inbox(owner, address), Ledger())
        made.ledger.follow({made.target.id}, {made.sender.id}, LATENESS)
        return made

    return to


async def test_a_held_canary_is_late_until_it_is_released(
    trail: Callable[[str], Trail], postfix: Postfix, dovecot: Dovecot
) -> None:
    """Postfix holds what it accepted: pending, then late; once released it is delivered late."""
    held, canary = postfix.mailboxes.held, trail(postfix.mailboxes.held)
    await canary.send(ago=400)
    assert await asyncio.to_thread(postfix.comes_to, "hold", held)
    assert await canary.look(ago=200) is None
    await canary.is_late(ago=60)
    assert "hold" == postfix.queue_of(held)
    postfix.release()
    assert await asyncio.to_thread(dovecot.receives, held, canary.message_id)
    await canary.arrives_late(after=400)


async def test_a_canary_that_was_late_before_anybody_looked_is_told_on_arrival(
    trail: Callable[[str], Trail], postfix: Postfix, dovecot: Dovecot
) -> None:
    """No read lies between the deadline and the arrival: the canary is delivered late, and that is a warning."""
    held, canary = postfix.mailboxes.held, trail(postfix.mailboxes.held)
    await canary.send(ago=400)
    assert await asyncio.to_thread(postfix.comes_to, "hold", held)
    postfix.release()
    assert await asyncio.to_thread(dovecot.receives, held, canary.message_id)
    arrived = await canary.look()
    assert arrived is not None
    assert (Fate.DELIVERED_LATE, False) == (arrived.fate, arrived.told_late)
    told = canary.said(arrived)
    assert ("canary.late", Level.WARN, Phase.SEARCH) == of(told.worst)
    assert told.measures["delivery_seconds"] >= 399
    assert f"took {told.measures['delivery_seconds']:.0f} s to inbox ops" in told.findings[0].evidence.text


@pytest.mark.parametrize(("ago", "late"), [(100, False), (400, True)], ids=["in-time", "late"])
async def test_a_deferred_canary_arrives_when_its_server_is_back(
    trail: Callable[[str], Trail], postfix: Postfix, dovecot: Dovecot, ago: float, *, late: bool
) -> None:
    """Nobody takes the mail, so Postfix keeps it and tries again: a short outage is no news, a long one makes it late."""
    away, canary = postfix.mailboxes.away, trail(postfix.mailboxes.away)
    await canary.send(ago=ago)
    assert await asyncio.to_thread(postfix.comes_to, "deferred", away)
    if late:
        await canary.is_late()
    else:
        assert await canary.look() is None
    with postfix.deliver_to_away(dovecot):
        postfix.flush()
        assert await asyncio.to_thread(dovecot.receives, away, canary.message_id)
    if late:
        await canary.arrives_late(after=ago)
    else:
        arrived = await canary.look()
        assert arrived is not None
        assert (Fate.DELIVERED, ()) == (arrived.fate, canary.said(arrived).findings)
        assert arrived.delay >= ago - 1


async def test_a_canary_that_is_thrown_away_is_lost(
    trail: Callable[[str], Trail], postfix: Postfix, dovecot: Dovecot
) -> None:
    """Postfix says 250 and discards: late, then lost, which is a failure of the mailbox that sent it."""
    swallowed, canary = postfix.mailboxes.swallowed, trail(postfix.mailboxes.swallowed)
    await canary.send(ago=4000)
    assert await asyncio.to_thread(wait_until, lambda: "discard: RCPT " in postfix.log_file.read_text())
    assert ("", []) == (postfix.queue_of(swallowed), dovecot.messages(swallowed))
    assert await canary.look(ago=3800) is None
    await canary.is_late(ago=3000)
    lost = await canary.look()
    assert lost is not None
    assert (Fate.LOST, None) == (lost.fate, lost.arrived_at)
    told = canary.said(lost)
    assert ("canary.lost", Level.FAIL, Phase.SEARCH) == of(told.worst)
    assert "mailbox sender" == str(told.worst.subject)
    assert "was not seen in inbox ops" in told.worst.evidence.text
    assert {} == told.measures
    assert await canary.look() is None


async def test_a_canary_that_is_filed_in_junk_is_junked(
    trail: Callable[[str], Trail], postfix: Postfix, dovecot: Dovecot
) -> None:
    """Dovecot files it in Junk on delivery: delivered, with a warning, and taken out of Junk."""
    junked, canary = postfix.mailboxes.junked, trail(postfix.mailboxes.junked)
    await canary.send(ago=5)
    assert await asyncio.to_thread(dovecot.receives, junked, canary.message_id, JUNK)
    arrived = await canary.look()
    assert arrived is not None
    assert (Fate.DELIVERED, Folder.JUNK) == (arrived.fate, arrived.folder)
    told = canary.said(arrived)
    assert ("canary.junked", Level.WARN, Phase.SEARCH) == of(told.worst)
    assert 4 <= told.measures["delivery_seconds"] < 60
    assert not dovecot.holds(junked, canary.message_id, JUNK)


async def test_a_canary_to_a_full_mailbox_is_lost_and_bounces_to_its_sender(
    trail: Callable[[str], Trail], postfix: Postfix, dovecot: Dovecot
) -> None:
    """Dovecot refuses for good (5.2.2), Postfix bounces: lost. The bounce is no canary, and it is left where it is."""
    full, sender, canary = postfix.mailboxes.full, postfix.mailboxes.sender, trail(postfix.mailboxes.full)
    await canary.send(ago=4000)
    own_inbox = dataclasses.replace(canary.target, address=canary.sender.address)

    def bounces() -> list[str]:
        return [text for mail in dovecot.messages(sender) if canary.message_id in (text := mail.as_string())]

    assert await asyncio.to_thread(wait_until, lambda: bounces() != [])
    (bounce,) = bounces()
    assert "Diagnostic-Code: smtp; 552 5.2.2 " in bounce
    assert await asyncio.to_thread(postfix.comes_to, "", full)
    lost = await canary.look()
    assert lost is not None
    assert (Fate.LOST, "canary.lost") == (lost.fate, canary.said(lost).worst.cause)

    result = await run("inbox", own_inbox)
    assert Outcome.PASS is result.outcome
    assert [InboxRead(inbox="ops", removed=0)] == [
        fact for fact in result.facts if isinstance(fact, Sighting | InboxRead)
    ]
    assert 1 == len(bounces())


async def test_a_canary_to_a_mailbox_without_room_for_now_arrives_when_there_is_room(
    trail: Callable[[str], Trail], oidc: Oidc, postfix: Postfix, dovecot: Dovecot, private_ca: PrivateCA
) -> None:
    """Dovecot refuses for now (4.2.2), Postfix tries again: late; the full inbox is read all the same; then it arrives."""
    crowded, canary = postfix.mailboxes.crowded, trail(postfix.mailboxes.crowded)
    with imap_client(dovecot, private_ca) as client:
        client.authenticate("XOAUTH2", Xoauth2(crowded, access_token(oidc, oidc.apps.by_secret)).imap)
        assert "OK" == client.append("INBOX", "", "", message(crowded, crowded).as_bytes())[0]
        await canary.send(ago=400)
        assert await asyncio.to_thread(postfix.comes_to, "deferred", crowded)
        await canary.is_late()
        assert 1 == len(dovecot.messages(crowded))
        client.select("INBOX")
        client.uid("STORE", "1:*", "+FLAGS", "\\Deleted")
        client.expunge()
    postfix.flush()
    assert await asyncio.to_thread(dovecot.receives, crowded, canary.message_id)
    await canary.arrives_late(after=400)


async def test_a_full_mailbox_behind_the_same_server_is_told_at_once(oidc: Oidc, dovecot: Dovecot) -> None:
    """Where who accepts also stores, a full mailbox is a refusal after the final dot, and no canary is expected."""
    owner = credential(oidc, dovecot, smtp=dovecot.submission_port)
    settings = CHECKS["canary"].settings(to=(inbox(owner, dovecot.mailboxes.full),))
    result = await run("canary", mailbox(owner, dovecot.mailboxes.sender), settings)
    evidence = result.worst.evidence
    assert ("smtp.message_refused", Phase.ACCEPT, Kind.REPLY) == (result.worst.cause, evidence.phase, evidence.kind)
    assert ("552", "5.2.2") == (evidence.code, evidence.enhanced_code)
    assert "full" in evidence.text
    assert dovecot.mailboxes.full not in repr(result)
    assert not any(isinstance(fact, Sent) for fact in result.facts)
