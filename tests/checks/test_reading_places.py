"""Where a failure of reading is placed: at the server that it comes from, and nowhere else."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import trustme

from checks.core.cloud import Endpoint, TlsMode
from checks.core.model import InboxRead, Kind, Outcome, Phase, Protocol, Scope, Subject
from checks.core.run import run_check
from checks.core.target import Mailbox
from checks.registry import CHECKS
from tests.checks.reading import IMAP, POP, Desk, Do, Script, open_desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Runs checks against scripts."""
    async with open_desk(tmp_path, trustme.CA()) as opened:
        yield opened


@pytest.mark.parametrize(("check", "protocol"), [("imap_auth", Protocol.IMAP), ("pop_auth", Protocol.POP)])
async def test_a_missing_ca_is_a_failure_of_its_own_server(desk: Desk, check: str, protocol: Protocol) -> None:
    """The CA file of the server for reading cannot be read: that reaches this server, and not the one for sending."""
    server = Endpoint(host="localhost", port=1, tls=TlsMode.IMPLICIT, ca_file="/nowhere/ca.pem")
    mailbox = desk.target(check, server)
    assert isinstance(mailbox, Mailbox)
    mailbox = dataclasses.replace(mailbox, endpoint=Endpoint(host="smtp.example", port=587))
    settings = CHECKS[check].settings()
    result = await run_check(CHECKS[check], mailbox, settings, desk.kit, watch="x/ops", seconds=5)
    assert ("tls.ca_file", Subject(Scope.ENDPOINT, "localhost:1")) == (result.worst.cause, result.worst.subject)
    evidence = result.worst.evidence
    assert (protocol, Phase.TLS, Kind.TLS, "ca_file") == (
        evidence.protocol,
        evidence.phase,
        evidence.kind,
        evidence.code,
    )


OURS = b"X-Mailcanary-Id: 0123456789abcdef01234567\r\n\r\n"
ONE_CANARY: Script = {
    **IMAP,
    "UID SEARCH": b"* SEARCH 7\r\n%t OK done\r\n",
    "UID FETCH": [
        b'* 1 FETCH (UID 7 INTERNALDATE "01-Nov-2026 03:00:00 +0000" BODY[HEADER.FIELDS (X)] {%d}\r\n%b)\r\n'
        % (len(OURS), OURS),
        b"%t OK done\r\n",
    ],
}


@pytest.mark.parametrize("how", [Do.HANG_UP, Do.RESET])
async def test_a_connection_lost_while_cleaning_is_no_bad_farewell(desk: Desk, how: Do) -> None:
    """Who is cut off while canaries are taken out is told that, and nothing about LOGOUT."""
    result, _ = await desk.run("inbox", {**ONE_CANARY, "UID STORE": how})
    assert Outcome.WARN is result.outcome
    assert {("inbox.clean_failed", Phase.CLEAN)} == {(one.cause, one.evidence.phase) for one in result.findings}
    assert [InboxRead(inbox="ops", removed=0)] == [fact for fact in result.facts if isinstance(fact, InboxRead)]


async def test_names_of_folders_are_in_no_evidence(desk: Desk) -> None:
    """A list of folders that is too long is told without any of its names."""
    line = b'* LIST (\\HasNoChildren) "/" "Negotiations with Fabrikam"\r\n'
    result, _ = await desk.run("inbox", {**IMAP, "LIST": [line * 100] * 100})
    assert ("imap.nonsense", Phase.OPEN) == (result.worst.cause, result.worst.evidence.phase)
    assert "answer of more than" in result.worst.evidence.text
    assert "Fabrikam" not in repr(result)


@pytest.mark.parametrize("code", ["Hunter2x", "x" * 5000], ids=["password", "endless"])
@pytest.mark.parametrize("check", ["inbox", "pop_auth"])
async def test_a_response_code_is_foreign_text_too(desk: Desk, check: str, code: str) -> None:
    """What a server puts where its code should be is bounded, and is no way to get a password or a token shown."""
    said = f"[{code}] no\r\n".encode()
    if check == "inbox":
        result, _ = await desk.run("inbox", {**IMAP, "LOGIN": b"%t NO " + said}, password="hunter2x")
    else:
        said = said.replace(b"Hunter2x", b"client-secret")
        result, _ = await desk.run("pop_auth", {**POP, "token": b"-ERR " + said})
    assert ("imap.auth_refused", Phase.AUTH) == (result.worst.cause, result.worst.evidence.phase)
    assert not [secret for secret in ("hunter2x", "client-secret") if secret in repr(result).casefold()]
    assert len(result.worst.evidence.enhanced_code or "") < 100
