"""The checks that read mail against the embedded Microsoft 365: the round trip, and what every fault is called."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from checks.canary import CanarySettings
from checks.core.cloud import Family
from checks.core.model import EndpointSeen, Folder, InboxRead, Kind, Outcome, Phase, Protocol, Sent, Sighting
from checks.core.secret import Redactor
from checks.core.target import Route
from checks.core.trace import Trace
from checks.inbox import InboxSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.core.model import Result
    from checks.core.target import Inbox
    from tests.checks.lab import Lab

BILLING, CANARY = "billing@contoso.example", "canary@contoso.example"
READER = "mailcanary-reader"


async def canary(lab: Lab, *inboxes: Inbox) -> str:
    """Send a canary from billing to these inboxes; its id."""
    result = await lab.run("canary", settings=CanarySettings(to=inboxes))
    (sent,) = [fact for fact in result.facts if isinstance(fact, Sent)]
    return sent.canary_id


def seen(result: Result) -> list[tuple[str, Folder]]:
    """The canaries that a run saw, with their folders."""
    return [(fact.canary_id, fact.folder) for fact in result.facts if isinstance(fact, Sighting)]


def removed(result: Result) -> list[int]:
    """How many messages a successful run took out."""
    return [fact.removed for fact in result.facts if isinstance(fact, InboxRead)]


async def test_a_canary_is_seen_once_and_taken_out(lab: Lab) -> None:
    """The first read sees it in the Inbox with the time of its arrival and deletes it, the second one sees nothing."""
    inbox = lab.inbox()
    before = lab.kit.clock.now().replace(microsecond=0)
    ident = await canary(lab, inbox)
    first, second = await lab.run("inbox", inbox), await lab.run("inbox", inbox)
    assert [Outcome.PASS] * 2 == [first.outcome, second.outcome]
    assert ([(ident, Folder.INBOX)], []) == (seen(first), seen(second))
    assert ([1], [0]) == (removed(first), removed(second))
    (arrived,) = [fact.arrived_at for fact in first.facts if isinstance(fact, Sighting)]
    assert before <= arrived <= lab.kit.clock.now()


async def test_a_canary_stays_for_others_to_see(lab: Lab) -> None:
    """A young one is seen again by each read, of ours or of others; it is taken out when its time is over."""
    sent = await canary(lab, lab.inbox())
    for keep, removed in ((120, 0), (120, 0), (0, 1)):
        result = await lab.run("inbox", settings=InboxSettings(keep_seconds=keep))
        (seen,) = [fact for fact in result.facts if isinstance(fact, Sighting)]
        (read,) = [fact for fact in result.facts if isinstance(fact, InboxRead)]
        assert (sent, removed) == (seen.canary_id, read.removed)


async def test_an_inbox_that_is_not_cleaned_keeps_its_canaries(lab: Lab) -> None:
    """Without cleaning every read sees the canary again."""
    ident = await canary(lab, lab.inbox())
    reads = [await lab.run("inbox", settings=InboxSettings(clean=False)) for _ in range(2)]
    assert [[(ident, Folder.INBOX)]] * 2 == [seen(read) for read in reads]


async def test_the_copies_in_sent_items_are_taken_out_too(lab: Lab) -> None:
    """A mailbox that sends canaries to itself is left as it was: nothing in Inbox, nothing in Sent Items."""
    own = lab.inbox("billing")
    await canary(lab, own)
    assert [2] == removed(await lab.run("inbox", own))
    store = lab.office.world.store(BILLING)
    assert dict.fromkeys(store.folders, 0) == {name: len(one.messages) for name, one in store.folders.items()}


async def test_mail_of_others_is_left_alone(lab: Lab) -> None:
    """A message that is not ours stays where it is, unread."""
    lab.office.world.store(CANARY).folders["INBOX"].post(
        lab.office.world.now(), b"From: a@b.example\r\nSubject: Re: mailcanary is fun\r\n\r\nHello.\r\n"
    )
    result = await lab.run("inbox")
    (left,) = lab.office.world.store(CANARY).folders["INBOX"].messages.values()
    assert ([], [0], set()) == (seen(result), removed(result), left.flags)


async def test_a_canary_in_junk_is_seen_there(lab: Lab) -> None:
    """Junk is read and cleaned as the Inbox is, and the sighting says where it was."""
    await lab.office.inject("delivery_junked", BILLING)
    ident = await canary(lab, lab.inbox())
    result = await lab.run("inbox")
    assert ([(ident, Folder.JUNK)], [1]) == (seen(result), removed(result))


@pytest.mark.parametrize("fault", ["delivery_lost", "delivery_delayed"])
async def test_a_canary_that_has_not_arrived_is_no_failure_of_the_inbox(lab: Lab, fault: str) -> None:
    """The inbox was read successfully; what is missing in it is for the ledger to say."""
    await lab.office.inject(fault, BILLING)
    await canary(lab, lab.inbox())
    result = await lab.run("inbox")
    assert (Outcome.PASS, [], [0]) == (result.outcome, seen(result), removed(result))


async def test_a_rewritten_message_id_does_not_hide_a_canary(lab: Lab) -> None:
    """A consumer mailbox changes the Message-ID; the canary is known all the same."""
    await lab.office.inject("message_id_rewritten", BILLING)
    ident = await canary(lab, lab.inbox())
    assert [(ident, Folder.INBOX)] == seen(await lab.run("inbox"))


async def test_an_inbox_at_the_partner_is_read_with_a_password(lab: Lab) -> None:
    """One canary to an inbox here and one elsewhere is seen in both."""
    ident = await canary(lab, lab.inbox(), lab.partner_inbox())
    results = [await lab.run("inbox", inbox) for inbox in (lab.inbox(), lab.partner_inbox())]
    assert [[(ident, Folder.INBOX)]] * 2 == [seen(result) for result in results]


async def test_a_wrong_password_is_told(lab: Lab) -> None:
    """The partner refuses the log-on with a code, which reaches the evidence."""
    result = await lab.run("inbox", lab.partner_inbox("wrong"))
    assert ("imap.auth_refused", "AUTHENTICATIONFAILED") == (result.worst.cause, result.worst.evidence.enhanced_code)
    assert Phase.AUTH is result.worst.evidence.phase


async def test_a_password_is_not_sent_where_basic_is_disabled(lab: Lab) -> None:
    """Exchange Online forbids LOGIN before any password could be sent."""
    wrong_place = dataclasses.replace(lab.partner_inbox(), endpoint=lab.inbox().endpoint)
    result = await lab.run("inbox", wrong_place)
    assert ("imap.password_refused", Kind.OBSERVED) == (result.worst.cause, result.worst.evidence.kind)


async def test_an_app_without_the_role_is_refused(lab: Lab) -> None:
    """billing-mailer may send and not read: IMAP and POP refuse the same token that SMTP takes."""
    assert Outcome.PASS is (await lab.run("smtp_auth")).outcome
    for check in ("imap_auth", "pop_auth"):
        result = await lab.run(check, lab.mailbox())
        assert ("exchange.imap_refused", Phase.AUTH) == (result.worst.cause, result.worst.evidence.phase), check


FAULTS: list[tuple[str, str, Mapping[str, object], str, Phase, str]] = [
    ("consent_revoked", READER, {}, "imap_auth", Phase.AUTH, "exchange.imap_refused"),
    ("exchange_unregistered", READER, {}, "imap_auth", Phase.AUTH, "exchange.imap_refused"),
    ("permission_missing", CANARY, {}, "imap_auth", Phase.OPEN, "exchange.not_connected"),
    ("licence_removed", CANARY, {}, "imap_auth", Phase.OPEN, "exchange.not_connected"),
    ("imap_disabled", CANARY, {}, "imap_auth", Phase.OPEN, "exchange.not_connected"),
    ("imap_disabled", CANARY, {}, "inbox", Phase.OPEN, "exchange.not_connected"),
    ("not_connected", CANARY, {}, "imap_auth", Phase.OPEN, "exchange.not_connected"),
    ("not_connected", CANARY, {}, "inbox", Phase.OPEN, "exchange.not_connected"),
    ("imap_throttled", CANARY, {}, "imap_auth", Phase.OPEN, "imap.throttled"),
    ("imap_throttled", CANARY, {}, "inbox", Phase.OPEN, "imap.throttled"),
    ("unavailable", "imap", {}, "imap_auth", Phase.AUTH, "imap.unavailable"),
    ("no_xoauth2", "imap", {}, "imap_auth", Phase.EHLO, "imap.xoauth2_missing"),
    ("no_xoauth2", "imap", {}, "inbox", Phase.EHLO, "imap.xoauth2_missing"),
    ("refused", "imap", {}, "inbox", Phase.CONNECT, "network.refused"),
    ("silent", "imap", {"phase": "tls"}, "inbox", Phase.TLS, "network.timeout"),
    ("silent", "imap", {"phase": "banner"}, "inbox", Phase.BANNER, "network.timeout"),
    ("silent", "imap", {"phase": "capability"}, "inbox", Phase.EHLO, "network.timeout"),
    ("silent", "imap", {"phase": "auth"}, "inbox", Phase.AUTH, "network.timeout"),
    ("silent", "imap", {"phase": "list"}, "inbox", Phase.OPEN, "network.timeout"),
    ("silent", "imap", {"phase": "open"}, "inbox", Phase.OPEN, "network.timeout"),
    ("silent", "imap", {"phase": "search"}, "inbox", Phase.SEARCH, "network.timeout"),
    ("silent", "imap", {"phase": "fetch"}, "inbox", Phase.FETCH, "network.timeout"),
    ("silent", "imap", {"phase": "quit"}, "imap_auth", Phase.QUIT, "imap.unclean_quit"),
    ("reset", "imap", {"phase": "search"}, "inbox", Phase.SEARCH, "network.reset"),
    ("closed", "imap", {"phase": "banner"}, "inbox", Phase.BANNER, "network.closed"),
    ("closed", "imap", {"phase": "open"}, "imap_auth", Phase.OPEN, "network.closed"),
    ("drip", "imap", {"phase": "fetch"}, "inbox", Phase.FETCH, "network.timeout"),
    ("nonsense", "imap", {"phase": "banner"}, "inbox", Phase.BANNER, "imap.nonsense"),
    ("nonsense", "imap", {"phase": "auth", "kind": "text"}, "inbox", Phase.AUTH, "imap.nonsense"),
    ("nonsense", "imap", {"phase": "fetch", "kind": "endless"}, "inbox", Phase.FETCH, "imap.nonsense"),
    ("certificate", "imap", {"problem": "expired"}, "inbox", Phase.TLS, "tls.expired"),
    ("certificate", "imap", {"problem": "wrong_name"}, "imap_auth", Phase.TLS, "tls.wrong_name"),
    ("certificate", "imap", {"problem": "unknown_ca"}, "imap_auth", Phase.TLS, "tls.unknown_ca"),
    ("consent_revoked", READER, {}, "pop_auth", Phase.AUTH, "exchange.imap_refused"),
    ("pop_disabled", CANARY, {}, "pop_auth", Phase.AUTH, "exchange.imap_refused"),
    ("unavailable", "pop", {}, "pop_auth", Phase.AUTH, "imap.unavailable"),
    ("no_xoauth2", "pop", {}, "pop_auth", Phase.EHLO, "imap.xoauth2_missing"),
    ("refused", "pop", {}, "pop_auth", Phase.CONNECT, "network.refused"),
    ("silent", "pop", {"phase": "open"}, "pop_auth", Phase.OPEN, "network.timeout"),
    ("reset", "pop", {"phase": "auth"}, "pop_auth", Phase.AUTH, "network.reset"),
    ("nonsense", "pop", {"phase": "capability", "kind": "endless"}, "pop_auth", Phase.EHLO, "imap.nonsense"),
    ("certificate", "pop", {"problem": "expired"}, "pop_auth", Phase.TLS, "tls.expired"),
]


@pytest.mark.parametrize(("fault", "subject", "settings", "check", "phase", "cause"), FAULTS)
async def test_a_fault_is_reported_in_its_phase(
    lab: Lab, fault: str, subject: str, settings: Mapping[str, object], check: str, phase: Phase, cause: str
) -> None:
    """A fault ends the run within its deadline, in the right phase, under the right name."""
    await canary(lab, lab.inbox())
    if subject != READER:
        await lab.kit.tokens.current(lab.credential(READER), Trace(lab.kit.clock, Redactor()))
    await lab.office.inject(fault, subject, settings)
    result = await lab.run(check, seconds=0.7)
    assert (phase, cause) == (result.worst.evidence.phase, result.worst.cause), result.worst.evidence
    assert [] == removed(result) or phase is Phase.QUIT
    assert result.seconds < 1.5


async def test_the_servers_own_words_reach_the_evidence(lab: Lab) -> None:
    """What Exchange says of throttling, with its time to wait, can be read by whoever gets the notice."""
    await lab.office.inject("imap_throttled", CANARY, {"milliseconds": 5000})
    result = await lab.run("imap_auth")
    assert "Suggested Backoff Time: 5000 milliseconds" in result.worst.evidence.text


async def test_a_failed_cleaning_takes_no_sighting_back(lab: Lab) -> None:
    """The canary was seen; that it can not be deleted is told beside it."""
    ident = await canary(lab, lab.inbox())
    await lab.office.inject("closed", "imap", {"phase": "clean"})
    result = await lab.run("inbox")
    assert ([(ident, Folder.INBOX)], [0]) == (seen(result), removed(result))
    assert {Phase.CLEAN, Phase.QUIT} >= {finding.evidence.phase for finding in result.findings} >= {Phase.CLEAN}


async def test_a_certificate_that_ends_soon_is_seen_by_the_endpoint_check(lab: Lab) -> None:
    """The connection is good, and the check of the endpoint says how many days are left."""
    await lab.office.inject("certificate_ends_soon", "smtp", {"days": 10})
    result = await lab.run("endpoint")
    assert "endpoint.certificate_ends_soon" == result.worst.cause
    assert result.worst.evidence.text.startswith("in 10.0 days")
    assert Outcome.PASS is (await lab.run("smtp_auth")).outcome


@pytest.mark.parametrize("protocol", [Protocol.IMAP, Protocol.POP])
async def test_the_endpoints_of_imap_and_pop_are_looked_at_too(lab: Lab, protocol: Protocol) -> None:
    """Healthy they pass and show what they offer; XOAUTH2 that is gone and an end that is near are told."""
    port = {Protocol.IMAP: lab.office.imap_port, Protocol.POP: lab.office.pop_port}[protocol]
    route = Route(protocol=protocol, endpoint=lab.reading(port), family=Family.IPV4)
    healthy = await lab.run("endpoint", route)
    (shown,) = [fact for fact in healthy.facts if isinstance(fact, EndpointSeen)]
    assert (Outcome.PASS, ("XOAUTH2",)) == (healthy.outcome, shown.auth_mechanisms)
    await lab.office.inject("no_xoauth2", protocol)
    assert "imap.xoauth2_missing" == (await lab.run("endpoint", route)).worst.cause
    await lab.office.reset()
    await lab.office.inject("certificate_ends_soon", protocol, {"days": 3})
    assert "endpoint.certificate_ends_now" == (await lab.run("endpoint", route)).worst.cause


async def test_nothing_private_is_in_a_result(lab: Lab) -> None:
    """Neither token, password nor any address stands in a failed result, its transcript included."""
    await lab.office.inject("not_connected", CANARY)
    results = [await lab.run(check) for check in ("imap_auth", "pop_auth", "inbox")]
    results.append(await lab.run("inbox", lab.partner_inbox("wrong-password")))
    for result in results:
        assert result.transcript
        for private in (CANARY, "inbox@partner.example", "wrong-password", "eyJ", "sim8Q"):
            assert private not in repr(result)
