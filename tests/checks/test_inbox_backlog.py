"""An inbox with more in it than one run reads: new canaries are seen first, and strangers hide none of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme

from checks.core.model import InboxRead, Outcome, Sighting
from checks.wire import imap_folder
from tests.checks.reading import IMAP, Desk, Script, open_desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from checks.core.model import Result

HOUR = timedelta(hours=1)


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """Runs checks against scripts; three messages of a folder are read in one run, two are looked at in one search."""
    monkeypatch.setattr(imap_folder, "MAX_FOUND", 3)
    monkeypatch.setattr(imap_folder, "WINDOW", 2)
    async with open_desk(tmp_path, trustme.CA()) as opened:
        yield opened


def holding(messages: Mapping[int, tuple[str, timedelta]]) -> Script:
    """An inbox whose messages have these subjects and ages; a number is also that of its place in the folder."""
    now = datetime.now(UTC)

    def search(line: bytes) -> bytes:
        first, last = map(int, line.split(b" ")[3].split(b":"))
        found = b"".join(b" %d" % uid for uid in messages if first <= uid <= last)
        return b"* SEARCH" + found + b"\r\n%t OK done\r\n"

    def fetch(line: bytes) -> bytes:
        said = b""
        for uid in map(int, re.findall(rb"\d+", line.split(b" ")[3])):
            subject, age = messages[uid]
            head = f"Subject: {subject}\r\n\r\n".encode()
            date = f"{now - age:%d-%b-%Y %H:%M:%S} +0000".encode()
            said += b'* %d FETCH (UID %d INTERNALDATE "%b" BODY[HEADER.FIELDS (X)] {%d}\r\n%b)\r\n' % (
                *(uid, uid, date, len(head)),
                head,
            )
        return said + b"%t OK done\r\n"

    return {
        **IMAP,
        "LIST": b"%t OK done\r\n",
        "SELECT": b"* %d EXISTS\r\n* OK [UIDVALIDITY 14] ok\r\n%%t OK done\r\n" % max(messages),
        "UID SEARCH": search,
        "UID FETCH": fetch,
    }


def canary(uid: int) -> str:
    """The subject of a canary."""
    return f"mailcanary {uid:024x}"


def seen(result: Result) -> list[int]:
    """The canaries that a run reported."""
    return [int(fact.canary_id, 16) for fact in result.facts if isinstance(fact, Sighting)]


async def test_a_backlog_is_told_and_worked_off(desk: Desk) -> None:
    """The newest are read and taken out first, the others are left for the next run; until then nothing counts as read."""
    result, server = await desk.run("inbox", holding({uid: (canary(uid), HOUR) for uid in (9, 7, 3, 8)}))
    assert ("inbox.backlog", Outcome.WARN) == (result.worst.cause, result.outcome)
    assert [7, 8, 9] == seen(result)
    assert [] == [fact for fact in result.facts if isinstance(fact, InboxRead)]
    assert "UID EXPUNGE 7,8,9" in server.commands


async def test_old_strangers_hide_no_canary(desk: Desk) -> None:
    """However many bounces of canaries lie in an inbox for days, a new canary is seen and the inbox counts as read."""
    bounces = {uid: (f"Undeliverable: {canary(uid)}", 100 * HOUR) for uid in range(1, 7)}
    result, server = await desk.run("inbox", holding({**bounces, 9: (canary(9), HOUR)}))
    assert (Outcome.PASS, [9]) == (result.outcome, seen(result))
    assert [InboxRead(inbox="ops", removed=1)] == [fact for fact in result.facts if isinstance(fact, InboxRead)]
    assert ["UID EXPUNGE 9"] == [said for said in server.commands if "EXPUNGE" in said]
