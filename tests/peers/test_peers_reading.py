"""Reading mail from a real Dovecot, by IMAP and POP, and the way of a canary there by a real Postfix."""

from __future__ import annotations

import asyncio
import dataclasses
import imaplib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from checks.core.cloud import Endpoint, TlsMode
from checks.core.model import Folder, InboxRead, Kind, Outcome, Phase, Sent, Sighting
from checks.core.secret import Address, Secret
from checks.core.target import Inbox
from checks.registry import CHECKS
from checks.wire.message import canary_message
from tests.peers.clients import Xoauth2, access_token, imap_client, message
from tests.peers.mailboxes import PASSWORD
from tests.peers.probes import credential, inbox, mailbox, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checks.core.model import Result
    from tests.peers.authority import PrivateCA
    from tests.peers.dovecot import Dovecot
    from tests.peers.oidc import Oidc
    from tests.peers.postfix import Postfix

READERS = ["imap_auth", "pop_auth"]


def sightings(result: Result) -> list[Sighting]:
    """What a run has seen."""
    return [fact for fact in result.facts if isinstance(fact, Sighting)]


@pytest.fixture
def recipient(dovecot: Dovecot, private_ca: PrivateCA, oidc: Oidc) -> Iterator[imaplib.IMAP4_SSL]:
    """The recipient's mailbox, empty, in the hands of the standard library's client."""
    with imap_client(dovecot, private_ca) as client:
        token = access_token(oidc, oidc.apps.by_secret)
        client.authenticate("XOAUTH2", Xoauth2(dovecot.mailboxes.recipient, token).imap)
        for folder in ("INBOX", '"Junk Email"', '"Sent Items"'):
            client.select(folder)
            client.uid("STORE", "1:*", "+FLAGS", "\\Deleted")
            client.expunge()
        client.select("INBOX")
        yield client


def subjects(client: imaplib.IMAP4_SSL, folder: str = "INBOX") -> list[bytes]:
    """The subjects in a folder."""
    client.select(folder, readonly=True)
    _, found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return [part[1].partition(b":")[2].strip() for part in found if isinstance(part, tuple)]


def put(client: imaplib.IMAP4_SSL, folder: str, what: bytes, arrived: datetime, flags: str = "") -> None:
    """Lay a message into a folder, as if it had arrived then."""
    status, text = client.append(folder, flags, imaplib.Time2Internaldate(arrived), what)
    assert "OK" == status, text


def canary(canary_id: str, address: str = "recipient@canary.test") -> bytes:
    """A canary that the canary check could have sent."""
    return canary_message(canary_id, Address(address), (Address(address),), datetime(2026, 9, 13, 12, 0, tzinfo=UTC))


@pytest.mark.parametrize("check", READERS)
@pytest.mark.parametrize("clear", [False, True], ids=["implicit", "starttls"])
@pytest.mark.parametrize("app", ["by_secret", "long_token"])
async def test_a_mailbox_opens(oidc: Oidc, dovecot: Dovecot, check: str, app: str, *, clear: bool) -> None:
    """A token opens the mailbox by IMAP and POP, in TLS from the start or after STARTTLS, whatever its length."""
    owner = credential(oidc, dovecot, app, clear=clear)
    result = await run(check, mailbox(owner, dovecot.mailboxes.sender))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert {time.phase for time in result.phases} <= set(CHECKS[check].phases)
    (seen,) = (fact for fact in result.facts if type(fact).__name__ == "EndpointSeen")
    assert "XOAUTH2" in seen.auth_mechanisms
    assert seen.tls_version.startswith("TLSv1.")


@pytest.mark.parametrize("check", READERS)
@pytest.mark.parametrize("app", ["wrong_scope", "expired"])
async def test_a_bad_token_is_refused_with_its_challenge_kept(
    oidc: Oidc, dovecot: Dovecot, check: str, app: str
) -> None:
    """A token for another resource and an expired one fail at AUTH, with the challenge and the server's words kept."""
    result = await run(check, mailbox(credential(oidc, dovecot, app), dovecot.mailboxes.sender))
    evidence = result.worst.evidence
    assert ("imap.auth_refused", Phase.AUTH, Kind.REPLY) == (result.worst.cause, evidence.phase, evidence.kind)
    assert evidence.code == ("NO" if check == "imap_auth" else "-ERR")
    assert evidence.enhanced_code == ("AUTHENTICATIONFAILED" if check == "imap_auth" else "AUTH")
    assert 'challenge {"status":"401"' in evidence.text
    assert "Authentication failed" in evidence.text


@pytest.mark.parametrize("check", READERS)
async def test_a_disabled_user_is_refused(oidc: Oidc, dovecot: Dovecot, check: str) -> None:
    """A good token does not open a disabled mailbox."""
    result = await run(check, mailbox(credential(oidc, dovecot), dovecot.mailboxes.disabled))
    assert ("imap.auth_refused", Phase.AUTH) == (result.worst.cause, result.worst.evidence.phase)
    assert dovecot.mailboxes.disabled not in repr(result)


@pytest.mark.parametrize("check", READERS)
async def test_a_server_that_cannot_check_tokens_is_no_bad_credential(
    oidc: Oidc, elsewhere: Dovecot, check: str
) -> None:
    """Where nobody answers about tokens, the server is not available, and nobody is told to renew a credential."""
    result = await run(check, mailbox(credential(oidc, elsewhere), elsewhere.mailboxes.sender))
    evidence = result.worst.evidence
    assert ("imap.unavailable", Phase.AUTH) == (result.worst.cause, evidence.phase), evidence
    assert evidence.enhanced_code == ("UNAVAILABLE" if check == "imap_auth" else "SYS/TEMP")


async def test_a_canary_makes_the_round_trip(
    oidc: Oidc, postfix: Postfix, dovecot: Dovecot, recipient: imaplib.IMAP4_SSL
) -> None:
    """What the canary check sends, the inbox check sees once, with its time of arrival, and takes out of the inbox."""
    owner = credential(oidc, dovecot, smtp=postfix.port)
    stranger = message(dovecot.mailboxes.sender, dovecot.mailboxes.recipient)
    put(recipient, "INBOX", stranger.as_bytes(), datetime.now(UTC))
    target = inbox(owner, dovecot.mailboxes.recipient)
    sent_by = mailbox(owner, dovecot.mailboxes.sender)
    result = await run("canary", sent_by, CHECKS["canary"].settings(to=(target,)))
    assert Outcome.PASS is result.outcome, result.findings
    (sent,) = (fact for fact in result.facts if isinstance(fact, Sent))
    message_id = f"<{sent.canary_id}.mailcanary@canary.test>"
    assert await asyncio.to_thread(dovecot.receives, dovecot.mailboxes.recipient, message_id)

    result = await run("inbox", target)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    (seen,) = sightings(result)
    assert (sent.canary_id, "ops", Folder.INBOX) == (seen.canary_id, seen.inbox, seen.folder)
    assert timedelta(seconds=-1) < seen.arrived_at - sent.at < timedelta(minutes=1)
    assert InboxRead(inbox="ops", removed=1) == result.facts[-1]
    assert {time.phase for time in result.phases} <= set(CHECKS["inbox"].phases)
    assert [b"A canary"] == subjects(recipient)

    again = await run("inbox", target)
    assert ([], InboxRead(inbox="ops", removed=0)) == (sightings(again), again.facts[-1])


async def test_junk_is_read_and_sent_items_are_cleaned(
    oidc: Oidc, dovecot: Dovecot, recipient: imaplib.IMAP4_SSL
) -> None:
    """A canary in Junk is reported as such with its INTERNALDATE in UTC; copies in Sent Items go without a report."""
    arrived = datetime(2026, 9, 13, 14, 0, 7, tzinfo=UTC).astimezone()
    put(recipient, '"Junk Email"', canary("a" * 24), arrived)
    put(recipient, '"Junk Email"', b"Subject: cheap pills\r\n\r\nbuy\r\n", arrived)
    put(recipient, '"Sent Items"', canary("b" * 24), arrived)
    put(recipient, '"Sent Items"', b"Subject: mailcanary is great\r\n\r\nreally\r\n", arrived)
    result = await run("inbox", inbox(credential(oidc, dovecot), dovecot.mailboxes.recipient))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert [Sighting(canary_id="a" * 24, inbox="ops", folder=Folder.JUNK, arrived_at=arrived)] == sightings(result)
    assert UTC is sightings(result)[0].arrived_at.tzinfo
    assert 2 == result.facts[-1].removed
    assert [b"cheap pills"] == subjects(recipient, '"Junk Email"')
    assert [b"mailcanary is great"] == subjects(recipient, '"Sent Items"')


STRANGERS = [
    b"Subject: mailcanary\r\n\r\n.\r\n",
    b"Subject: mailcanary " + b"a" * 25 + b"\r\n\r\n.\r\n",
    b"Subject: mailcanary " + b"A" * 24 + b"\r\n\r\n.\r\n",
    b"Subject: RE: mailcanary " + b"a" * 24 + b"\r\n\r\n.\r\n",
    b"Subject: Undeliverable: mailcanary "
    + b"a" * 24
    + b"\r\nIn-Reply-To: <"
    + b"a" * 24
    + b".mailcanary@x>\r\n\r\n.\r\n",
    b"Subject: hello\r\nX-Mailcanary-Id: nothing\r\n\r\n.\r\n",
    b"Subject: mailcanary " + b"x" * 70_000 + b"\r\n\r\n.\r\n",
    b"Subject: about us\r\n\r\nmailcanary " + b"a" * 24 + b"\r\n",
]


async def test_only_what_is_ours_is_touched(oidc: Oidc, dovecot: Dovecot, recipient: imaplib.IMAP4_SSL) -> None:
    """Mail that merely speaks of canaries, and what its owner has marked as deleted, stays as it is."""
    arrived = datetime(2026, 9, 13, 14, 0, 7, tzinfo=UTC)
    for stranger in STRANGERS:
        put(recipient, "INBOX", stranger, arrived)
    put(recipient, "INBOX", b"Subject: marked\r\n\r\n.\r\n", arrived, "\\Deleted")
    put(recipient, "INBOX", canary("c" * 24), arrived)
    before = subjects(recipient)
    result = await run("inbox", inbox(credential(oidc, dovecot), dovecot.mailboxes.recipient))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert ["c" * 24] == [seen.canary_id for seen in sightings(result)]
    assert [subject for subject in before if subject != b"mailcanary " + b"c" * 24] == subjects(recipient)


async def test_a_canary_is_known_by_any_of_its_marks(
    oidc: Oidc, dovecot: Dovecot, recipient: imaplib.IMAP4_SSL
) -> None:
    """Header, subject or Message-ID is enough to see it; to delete it, one of the first two has to be left alone."""
    arrived = datetime(2026, 9, 13, 14, 0, 7, tzinfo=UTC)
    marks = {
        "1": b"Subject: [EXTERNAL] hello\r\nX-Mailcanary-Id: %b\r\n",
        "2": b"Subject: mailcanary\r\n %b\r\n",
        "3": b"Subject: [EXTERNAL] mailcanary\r\nMessage-ID: <%b.mailcanary@contoso.example>\r\n",
        "4": b"Subject: [EXT] mailcanary\r\nMessage-ID: <x@y>\r\nX-Microsoft-Original-Message-ID:\r\n <%b.mailcanary@x.y>\r\n",
    }
    for digit, head in marks.items():
        put(recipient, "INBOX", head % (digit * 24).encode() + b"\r\n.\r\n", arrived)
    result = await run("inbox", inbox(credential(oidc, dovecot), dovecot.mailboxes.recipient))
    assert [digit * 24 for digit in marks] == [seen.canary_id for seen in sightings(result)]
    assert 2 == result.facts[-1].removed
    assert 2 == len(subjects(recipient))


async def test_without_cleaning_nothing_is_taken_out(
    oidc: Oidc, dovecot: Dovecot, recipient: imaplib.IMAP4_SSL
) -> None:
    """With `clean: false` new canaries are reported on every read and stay; those of last week are not looked at."""
    now = datetime.now(UTC).replace(microsecond=0)
    put(recipient, "INBOX", canary("d" * 24), now)
    put(recipient, "INBOX", canary("e" * 24), now - timedelta(days=7))
    put(recipient, '"Sent Items"', canary("d" * 24), now)
    target = inbox(credential(oidc, dovecot), dovecot.mailboxes.recipient)
    for _ in range(2):
        result = await run("inbox", target, CHECKS["inbox"].settings(clean=False, keep_seconds=0))
        assert ["d" * 24] == [seen.canary_id for seen in sightings(result)]
        assert InboxRead(inbox="ops", removed=0) == result.facts[-1]
    assert [2, 1] == [len(subjects(recipient)), len(subjects(recipient, '"Sent Items"'))]


@pytest.mark.parametrize("clear", [False, True], ids=["implicit", "starttls"])
async def test_a_foreign_inbox_is_read_with_its_password(elsewhere: Dovecot, *, clear: bool) -> None:
    """A password with quote, backslash, blank and umlaut opens a foreign inbox, and shows nowhere."""
    port = elsewhere.imap_clear_port if clear else elsewhere.imap_port
    tls = TlsMode.STARTTLS if clear else TlsMode.IMPLICIT
    target = Inbox(
        id="partner",
        address=Address(elsewhere.mailboxes.recipient),
        endpoint=Endpoint(host="localhost", port=port, tls=tls, ca_file=str(elsewhere.ca_file)),
        password=Secret(PASSWORD),
    )
    result = await run("inbox", target)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert InboxRead(inbox="partner", removed=0) == result.facts[-1]

    result = await run("inbox", dataclasses.replace(target, password=Secret('wr"ong')))
    evidence = result.worst.evidence
    assert ("imap.auth_refused", Phase.AUTH, "NO") == (result.worst.cause, evidence.phase, evidence.code)
    assert 'wr"ong' not in repr(result)
    assert 'wr\\"ong' not in repr(result)
