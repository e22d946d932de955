"""The inbox check in dialogue with servers that can less, do worse, or have more in them than one run reads."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import trustme

from checks.core.model import Folder, InboxRead, Kind, Outcome, Phase, Sighting
from tests.checks.reading import ADDRESS, IMAP, TOKEN, Desk, Do, Script, open_desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from checks.core.model import Result

CANARY = "0123456789abcdef01234567"
ARRIVED = datetime(2026, 9, 13, 12, 0, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """One CA for all."""
    return trustme.CA()


@pytest.fixture
async def desk(tmp_path: Path, authority: trustme.CA) -> AsyncIterator[Desk]:
    """Runs checks against scripts."""
    async with open_desk(tmp_path, authority) as opened:
        yield opened


def fetched(uid: int, head: bytes, date: bytes = b"13-Sep-2026 14:00:05 +0200") -> bytes:
    """A message as a FETCH gives it."""
    return b'* %d FETCH (UID %d INTERNALDATE "%b" BODY[HEADER.FIELDS (X-Mailcanary-Id Subject)] {%d}\r\n%b)\r\n' % (
        uid,
        uid,
        date,
        len(head),
        head,
    )


def ours(canary_id: str = CANARY) -> bytes:
    """The fields of one of ours."""
    return f"Subject: mailcanary {canary_id}\r\nX-Mailcanary-Id: {canary_id}\r\n\r\n".encode()


def in_folder(name: str, *uids: int) -> Script:
    """A mailbox with canaries in one folder only; their ids are their numbers."""
    selected = "INBOX"

    def select(line: bytes) -> bytes:
        nonlocal selected
        selected = line.split(b" ", 2)[2].strip(b'"').decode()
        return b"* 9 EXISTS\r\n* OK [UIDVALIDITY 14] ok\r\n%t OK done\r\n"

    def search(_: bytes) -> bytes:
        found = uids if selected == name else ()
        return b"* SEARCH" + b"".join(b" %d" % uid for uid in found) + b"\r\n%t OK done\r\n"

    def fetch(line: bytes) -> bytes:
        asked = {int(uid) for uid in re.findall(rb"\d+", line.split(b" ")[3])}
        return b"".join(fetched(uid, ours(f"{uid:024x}")) for uid in uids if uid in asked) + b"%t OK done\r\n"

    return {**IMAP, "SELECT": select, "UID SEARCH": search, "UID FETCH": fetch}


def seen(result: Result) -> list[tuple[str, Folder]]:
    """What a run reported."""
    return [(fact.canary_id, fact.folder) for fact in result.facts if isinstance(fact, Sighting)]


def reads(result: Result) -> list[InboxRead]:
    """Whether a run says that all was read."""
    return [fact for fact in result.facts if isinstance(fact, InboxRead)]


async def test_one_canary_is_seen_and_removed(desk: Desk) -> None:
    """The dialogue of an ordinary run, word by word: only the one number is marked and expunged."""
    result, server = await desk.run("inbox", in_folder("INBOX", 7))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert Sighting(canary_id=f"{7:024x}", inbox="ops", folder=Folder.INBOX, arrived_at=ARRIVED) in result.facts
    assert [InboxRead(inbox="ops", removed=1)] == reads(result)
    assert [
        "CAPABILITY",
        'LIST "" "*"',
        'SELECT "INBOX"',
        'UID SEARCH 1:9 OR HEADER X-Mailcanary-Id "" SUBJECT "mailcanary"',
        (
            "UID FETCH 7 (UID INTERNALDATE BODY.PEEK[HEADER.FIELDS"
            " (X-Mailcanary-Id Subject Message-ID X-Microsoft-Original-Message-ID)])"
        ),
        'SELECT "INBOX"',
        "UID STORE 7 +FLAGS.SILENT (\\Deleted)",
        "UID EXPUNGE 7",
        'SELECT "Sent"',
        'UID SEARCH 1:9 OR HEADER X-Mailcanary-Id "" SUBJECT "mailcanary"',
        "LOGOUT",
    ] == server.commands[2:]


JUNK_LISTS = {
    "by attribute": b'* LIST (\\HasNoChildren \\Junk) "/" "Unerw&APw-nscht"\r\n* LIST () "/" Junk\r\n',
    "by Exchange's name": b'* LIST (\\HasNoChildren) "/" "Junk Email"\r\n',
    "by Dovecot's name": b'* LIST () "." INBOX.Junk\r\n',
    "as a literal": b'* LIST (\\Junk) "/" {4}\r\nSp"m\r\n',
    "without hierarchy": b"* LIST () NIL Junk\r\n",
}
JUNK_NAMES = dict(zip(JUNK_LISTS, ["Unerw&APw-nscht", "Junk Email", "INBOX.Junk", 'Sp\\"m', "Junk"], strict=True))


@pytest.mark.parametrize("how", JUNK_LISTS)
async def test_junk_is_found(desk: Desk, how: str) -> None:
    """The junk folder is known by its attribute (RFC 6154), else by its name, wherever it stands."""
    script = {**in_folder(JUNK_NAMES[how], 3), "LIST": JUNK_LISTS[how] + b"%t OK done\r\n"}
    result, _ = await desk.run("inbox", script)
    assert [(f"{3:024x}", Folder.JUNK)] == seen(result)
    assert [InboxRead(inbox="ops", removed=1)] == reads(result)


async def test_a_folder_that_cannot_be_named_is_no_command(desk: Desk) -> None:
    """A folder whose name holds a line end is left alone; so is one that cannot be opened."""
    listed = b'* LIST (\\Junk) "/" {11}\r\nx\r\nA9 LOGIN\r\n* LIST (\\Junk \\Noselect) "/" y\r\n'
    result, server = await desk.run("inbox", {**IMAP, "LIST": listed + b"%t OK done\r\n"})
    assert Outcome.PASS is result.outcome
    assert ['SELECT "INBOX"'] == [said for said in server.commands if said.startswith("SELECT")]


@pytest.mark.parametrize(
    "refusal", [b"%t NO The specified search is not supported.\r\n", b"%t BAD Command Error. 12\r\n"]
)
async def test_a_server_without_search_in_headers_is_asked_for_the_subject(desk: Desk, refusal: bytes) -> None:
    """Where the search for our header is refused, the subject is searched for, and nothing is wrong."""
    healthy = in_folder("INBOX", 7)

    def search(line: bytes) -> bytes:
        return refusal if b"HEADER" in line else healthy["UID SEARCH"](line)

    result, server = await desk.run("inbox", {**healthy, "UID SEARCH": search})
    assert (Outcome.PASS, [(f"{7:024x}", Folder.INBOX)]) == (result.outcome, seen(result))
    assert 'UID SEARCH 1:9 SUBJECT "mailcanary"' in server.commands


async def test_a_search_that_fails_is_no_empty_inbox(desk: Desk) -> None:
    """Where nothing can be searched, nobody says that the inbox was read."""
    result, _ = await desk.run("inbox", {**IMAP, "UID SEARCH": b"%t NO Server busy\r\n"})
    assert ("imap.not_readable", Phase.SEARCH) == (result.worst.cause, result.worst.evidence.phase)
    assert [] == reads(result)


async def test_without_uidplus_nothing_is_expunged(desk: Desk) -> None:
    """A server that can only expunge everything gets our canary marked, and is asked for unmarked ones only."""
    caps = b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n%t OK done\r\n"
    result, server = await desk.run("inbox", {**in_folder("INBOX", 7), "CAPABILITY": caps})
    assert (Outcome.PASS, [InboxRead(inbox="ops", removed=1)]) == (result.outcome, reads(result))
    assert "UID STORE 7 +FLAGS.SILENT (\\Deleted)" in server.commands
    assert [] == [said for said in server.commands if "EXPUNGE" in said or "CLOSE" in said]
    assert 'UID SEARCH 1:9 UNDELETED OR HEADER X-Mailcanary-Id "" SUBJECT "mailcanary"' in server.commands


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"UID STORE": b"%t NO [NOPERM] Permission denied\r\n"}, Kind.REPLY),
        ({"UID EXPUNGE": b"%t NO [UNAVAILABLE] later\r\n"}, Kind.REPLY),
        ({"UID STORE": [Do.FALL_SILENT]}, Kind.TIMEOUT),
        ({"UID STORE": [Do.HANG_UP]}, Kind.CLOSED),
        ({"UID STORE": b"what?\r\n"}, Kind.NONSENSE),
    ],
)
async def test_cleaning_that_fails_takes_nothing_back(desk: Desk, part: Script, kind: Kind) -> None:
    """A canary that cannot be deleted is a warning; that it was seen, and that all was read, stands."""
    result, _ = await desk.run("inbox", {**in_folder("INBOX", 7), **part}, seconds=0.7)
    evidence = result.worst.evidence
    assert (Outcome.WARN, "inbox.clean_failed", Phase.CLEAN) == (result.outcome, result.worst.cause, evidence.phase)
    assert kind is evidence.kind or {kind, evidence.kind} == {Kind.CLOSED, Kind.RESET}
    assert [(f"{7:024x}", Folder.INBOX)] == seen(result)
    assert [InboxRead(inbox="ops", removed=0)] == reads(result)


async def test_numbers_that_mean_something_else_now_delete_nothing(desk: Desk) -> None:
    """A folder that was made anew between reading and cleaning keeps its messages, whatever their numbers."""
    count = 0

    def select(_: bytes) -> bytes:
        nonlocal count
        count += 1
        return b"* 9 EXISTS\r\n* OK [UIDVALIDITY %d] ok\r\n%%t OK done\r\n" % count

    result, server = await desk.run("inbox", {**in_folder("INBOX", 7), "SELECT": select})
    assert (Outcome.PASS, [InboxRead(inbox="ops", removed=0)]) == (result.outcome, reads(result))
    assert [] == [said for said in server.commands if "STORE" in said]


async def test_a_great_folder_is_searched_in_windows(desk: Desk) -> None:
    """Every message is looked at although others are expunged meanwhile, which moves what comes behind."""
    searched: list[bytes] = []

    def search(line: bytes) -> bytes:
        searched.append(line.split(b" ")[3])
        gone = b"* 1 EXPUNGE\r\n* 1 EXPUNGE\r\n" if len(searched) == 1 else b""
        return b"* SEARCH\r\n" + gone + b"%t OK done\r\n"

    script: Script = {**IMAP, "SELECT": b"* 12000 EXISTS\r\n%t OK done\r\n", "UID SEARCH": search}
    result, _ = await desk.run("inbox", script, clean=False)
    assert Outcome.PASS is result.outcome
    assert [b"1:5000", b"4999:9998", b"9999:11998"] == searched


async def test_many_are_taken_in_batches(desk: Desk) -> None:
    """No command names more than 50 messages, and all are reported and removed."""
    uids = tuple(range(1, 121))
    result, server = await desk.run("inbox", in_folder("INBOX", *uids))
    assert 120 == len(seen(result))
    assert [InboxRead(inbox="ops", removed=120)] == reads(result)
    assert 3 == len([said for said in server.commands if said.startswith("UID EXPUNGE")])
    assert max(map(len, server.said)) < 1000


async def test_without_cleaning_only_the_last_days_are_searched(desk: Desk) -> None:
    """Where nothing is removed, what earlier runs reported is not asked for again for ever."""
    _, server = await desk.run("inbox", in_folder("INBOX", 7), clean=False)
    (search,) = (said for said in server.commands if said.startswith("UID SEARCH"))
    assert re.match(r"UID SEARCH 1:9 SINCE \d{1,2}-[A-Z][a-z]{2}-\d{4} OR HEADER", search)


LITERAL = b'* 7 FETCH (UID 7 INTERNALDATE "13-Sep-2026 14:00:05 +0200" BODY[HEADER.FIELDS (X)] {%d}\r\n'
FETCHES: dict[str, tuple[bytes | list[bytes | Do], str, Kind]] = {
    "endless literal": ([LITERAL % 10**9, b"x" * 4096, Do.FALL_SILENT], "imap.nonsense", Kind.NONSENSE),
    "literal that ends early": ([LITERAL % 5000, b"x", Do.FALL_SILENT], "network.timeout", Kind.TIMEOUT),
    "hang up in a literal": ([LITERAL % 5000, b"x", Do.HANG_UP], "network.closed", Kind.CLOSED),
    "no list": (b"* 7 FETCH UID 7\r\n%t OK done\r\n", "imap.nonsense", Kind.NONSENSE),
    "odd list": (b"* 7 FETCH (UID)\r\n%t OK done\r\n", "imap.nonsense", Kind.NONSENSE),
    "no end": (b"* 7 FETCH (UID 7\r\n%t OK done\r\n", "imap.nonsense", Kind.NONSENSE),
    "deep": (b"* 7 FETCH " + b"(" * 50 + b"\r\n%t OK done\r\n", "imap.nonsense", Kind.NONSENSE),
    "no date": (b"* 7 FETCH (UID 7 BODY[X] x)\r\n%t OK done\r\n", "imap.nonsense", Kind.NONSENSE),
    "refused": (b"%t NO no\r\n", "imap.not_readable", Kind.REPLY),
}


@pytest.mark.parametrize("how", FETCHES)
async def test_what_is_no_message_is_evidence(desk: Desk, how: str) -> None:
    """Messages that are none end the run in the phase fetch, and the inbox does not count as read."""
    part, cause, kind = FETCHES[how]
    result, server = await desk.run("inbox", {**in_folder("INBOX", 7), "UID FETCH": part}, seconds=0.7)
    assert (cause, Phase.FETCH) == (result.worst.cause, result.worst.evidence.phase) or kind is Kind.CLOSED
    assert kind is result.worst.evidence.kind or kind is Kind.CLOSED
    assert [] == reads(result)
    assert [] == [said for said in server.commands if "STORE" in said]


async def test_messages_that_nobody_asked_for_are_nobody(desk: Desk) -> None:
    """A server that slips in other messages, flags, or a number twice does not get those deleted or reported."""
    extra = fetched(8, ours("f" * 24)) + b"* 7 FETCH (FLAGS (\\Seen))\r\n" + fetched(7, ours()) * 2
    script = {**in_folder("INBOX", 7), "UID FETCH": extra + b"%t OK done\r\n"}
    result, server = await desk.run("inbox", script)
    assert [(CANARY, Folder.INBOX)] == seen(result)
    assert "UID EXPUNGE 7" in server.commands


@pytest.mark.parametrize(
    ("part", "code"),
    [(b"* SEARCH x\r\n", None), (b"* SEARCH -1\r\n", None), (b"* SEARCH 99999999999\r\n", None)],
)
async def test_a_search_for_numbers_finds_numbers(desk: Desk, part: bytes, code: str | None) -> None:
    """Anything but numbers in the answer to SEARCH is nonsense."""
    result, _ = await desk.run("inbox", {**IMAP, "UID SEARCH": part + b"%t OK done\r\n"})
    evidence = result.worst.evidence
    assert ("imap.nonsense", Phase.SEARCH, code) == (result.worst.cause, evidence.phase, evidence.code)


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("plain", ['LOGIN "ops@contoso.example" "plain"']),
        ('a "b" \\c', ['LOGIN "ops@contoso.example" "a \\"b\\" \\\\c"']),
        ("wörd", ['LOGIN "ops@contoso.example" {5}', "wörd"]),
        ("", ['LOGIN "ops@contoso.example" ""']),
        ("a\tb", ['LOGIN "ops@contoso.example" {3}', "a\tb"]),
    ],
)
async def test_a_password_is_said_as_it_is(desk: Desk, password: str, expected: list[str]) -> None:
    """A password goes as a quoted string, or as a literal where that cannot hold it, and is nowhere in the result."""

    def login(line: bytes) -> bytes:
        return b"+ go on\r\n" if line.endswith(b"}") else b"%t OK done\r\n"

    script: Script = {**IMAP, "LOGIN": login, "token": b"A2 OK done\r\n", "SELECT": b"%t NO no\r\n"}
    result, server = await desk.run("inbox", script, password=password)
    assert "imap.mailbox_closed" == result.worst.cause
    assert expected == [line.decode().removeprefix("A2 ") for line in server.said[1 : 1 + len(expected)]]
    assert ADDRESS not in repr(result)
    assert "C: A2 LOGIN *** ***" in result.transcript


DISABLED = b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED\r\n%t OK done\r\n"


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ({"CAPABILITY": DISABLED}, "login_disabled"),
        ({"LOGIN": b"%t NO Basic authentication is disabled.\r\n* BYE signing off.\r\n"}, "NO"),
    ],
)
async def test_a_server_without_passwords_says_so(desk: Desk, part: Script, code: str) -> None:
    """Where passwords are not taken, the cause is that, whether it is offered so or answered so."""
    result, server = await desk.run("inbox", {**IMAP, **part}, password="geheim-99")
    evidence = result.worst.evidence
    assert ("imap.password_refused", Phase.AUTH, code) == (result.worst.cause, evidence.phase, evidence.code)
    assert code == "NO" or b"geheim" not in b"".join(server.said)
    assert "geheim" not in repr(result)


async def test_an_inbox_that_does_not_open_is_blamed_on_itself(desk: Desk) -> None:
    """What Exchange says to a mailbox that it does not open is about this inbox."""
    not_connected = b"%t BAD User is authenticated but not connected.\r\n* BYE Connection closed. 14\r\n"
    result, _ = await desk.run("inbox", {**IMAP, "LIST": not_connected})
    assert ("exchange.not_connected", Phase.OPEN) == (result.worst.cause, result.worst.evidence.phase)
    assert "inbox ops" == str(result.worst.subject)
    assert TOKEN not in repr(result)


async def test_names_of_folders_and_subjects_show_nowhere(desk: Desk) -> None:
    """A failed run shows its dialogue, but not what lies in the mailbox."""
    listed = b'* LIST () "/" "Kuendigung Meier"\r\n%t OK done\r\n'
    secret = fetched(7, b"Subject: mailcanary and the secret plan\r\n\r\n")
    script = {
        **in_folder("INBOX", 7), "LIST": listed, "UID FETCH": secret + b"%t OK done\r\n", "LOGOUT": b"%t BAD no\r\n"
    }  # fmt: skip
    result, _ = await desk.run("inbox", script)
    assert "imap.unclean_quit" == result.worst.cause
    assert result.transcript
    assert "Meier" not in repr(result)
    assert "secret plan" not in repr(result)


def hostile() -> dict[str, Callable[[], Script]]:
    """Silence and endings in every phase that only the inbox check has."""
    ways: dict[str, list[bytes | Do]] = {
        "silent": [Do.FALL_SILENT],
        "reset": [Do.RESET],
        "flood": [b"* x\r\n" * 1000] * 20,
    }
    return {
        f"{name} {how}": (lambda name=name, part=part: {**in_folder("INBOX", 7), name: part})
        for name in ("LIST", "SELECT", "UID SEARCH", "UID FETCH")
        for how, part in ways.items()
    }


PHASES = {"LIST": Phase.OPEN, "SELECT": Phase.OPEN, "UID SEARCH": Phase.SEARCH, "UID FETCH": Phase.FETCH}


@pytest.mark.parametrize("how", hostile())
async def test_a_hostile_server_is_evidence(desk: Desk, how: str) -> None:
    """Silence, a reset and a flood in every phase of reading are results with phase and cause, in time."""
    result, _ = await desk.run("inbox", hostile()[how](), seconds=0.7)
    evidence = result.worst.evidence
    assert PHASES[how.rpartition(" ")[0]] is evidence.phase
    expected = {"silent": {Kind.TIMEOUT}, "reset": {Kind.RESET, Kind.CLOSED}, "flood": {Kind.NONSENSE}}
    assert evidence.kind in expected[how.rpartition(" ")[2]], evidence
    assert result.worst.cause not in {"unrecognised", "monitor.defect"}
    assert [] == reads(result)
