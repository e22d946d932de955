"""Reading checks in dialogue with servers of every sort: what they say is kept, and what they do is survived."""

from __future__ import annotations

import base64
import dataclasses
from typing import TYPE_CHECKING

import pytest
import trustme

from checks.core.cloud import TlsMode
from checks.core.model import EndpointSeen, Kind, Outcome, Phase
from checks.core.run import run_check
from checks.registry import CHECKS
from tests.checks.reading import ADDRESS, IMAP, POP, TOKEN, Desk, Do, Script, open_desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from checks.core.model import Result

CHALLENGE = b"+ " + base64.b64encode(b'{"status":"401","schemes":"bearer"}') + b"\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """One CA for all."""
    return trustme.CA()


@pytest.fixture
async def desk(tmp_path: Path, authority: trustme.CA) -> AsyncIterator[Desk]:
    """Runs checks against scripts."""
    async with open_desk(tmp_path, authority) as opened:
        yield opened


def verdict(result: Result) -> tuple[str, Phase, str | None]:
    """Cause, phase and code."""
    assert result.worst is not None
    return result.worst.cause, result.worst.evidence.phase, result.worst.evidence.code


GREETINGS = [
    b"* OK The Microsoft Exchange IMAP4 service is ready. [QwBZADQAUABSADEANgBDAEEAMAAwADEANgA=]\r\n",
    b"* OK Microsoft Exchange IMAP4 service ready.\r\n",
    b"* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR AUTH=XOAUTH2] Dovecot ready.\r\n",
    b"* OK\r\n",
]


@pytest.mark.parametrize("greeting", GREETINGS)
async def test_every_greeting_will_do(desk: Desk, greeting: bytes) -> None:
    """Exchange's old and new greetings, and anybody else's, lead to an opened mailbox."""
    result, server = await desk.run("imap_auth", {**IMAP, "": greeting})
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    response = base64.b64encode(f"user={ADDRESS}\x01auth=Bearer {TOKEN}\x01\x01".encode()).decode()
    assert ["CAPABILITY", f"AUTHENTICATE XOAUTH2 {response}", "EXAMINE INBOX", "LOGOUT"] == server.commands
    (seen,) = (fact for fact in result.facts if isinstance(fact, EndpointSeen))
    assert ("127.0.0.1", ("LOGIN", "XOAUTH2")) == (seen.ip, seen.auth_mechanisms)


async def test_without_sasl_ir_the_token_takes_two_steps(desk: Desk) -> None:
    """Where no initial response is offered, the token answers an empty question."""
    script: Script = {
        **IMAP,
        "CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2\r\n%t OK done\r\n",
        "AUTHENTICATE": b"+ \r\n",
        "token": b"A2 OK AUTHENTICATE completed.\r\n",
    }
    result, server = await desk.run("imap_auth", script)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert b"A2 AUTHENTICATE XOAUTH2" == server.said[1]


async def test_pop_asks_for_the_mailbox(desk: Desk) -> None:
    """By POP, the token takes two steps and STAT opens the mailbox."""
    result, server = await desk.run("pop_auth", POP)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert [b"CAPA", b"AUTH XOAUTH2", b"STAT", b"QUIT"] == [*server.said[:2], *server.said[3:]]


async def test_a_server_that_closes_behind_its_bye_has_taken_leave(desk: Desk) -> None:
    """By IMAP, BYE is a farewell; the answer to LOGOUT itself need not come."""
    result, _ = await desk.run("imap_auth", {**IMAP, "LOGOUT": [b"* BYE signing off.\r\n", Do.HANG_UP]})
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)


async def test_an_answer_before_the_question_is_nonsense(desk: Desk) -> None:
    """By POP, where answers have no tags, what comes unasked is not taken for the answer to the next command."""
    result, server = await desk.run("pop_auth", {**POP, "": b"+OK hi\r\n+OK\r\nSASL XOAUTH2\r\n.\r\n"})
    assert ("imap.nonsense", Phase.EHLO, None) == verdict(result)
    assert [] == server.said


@pytest.mark.parametrize("check", ["imap_auth", "pop_auth"])
async def test_starttls_comes_before_the_token(desk: Desk, check: str) -> None:
    """Where TLS begins by command, what was offered before it is asked anew."""
    imap: Script = {
        **IMAP,
        "CAPABILITY": b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=XOAUTH2\r\n%t OK done\r\n",
        "STARTTLS": b"%t OK begin\r\n",
        "AUTHENTICATE": b"+ \r\n",
        "token": b"A4 OK AUTHENTICATE completed.\r\n",
    }
    pop: Script = {**POP, "CAPA": b"+OK\r\nSTLS\r\nSASL XOAUTH2\r\n.\r\n", "STLS": b"+OK begin\r\n"}
    result, _ = await desk.run(check, imap if check == "imap_auth" else pop, tls=TlsMode.STARTTLS)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert [Phase.RESOLVE, Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.STARTTLS, Phase.TLS] == [
        time.phase for time in result.phases[:6]
    ]


SAID: list[tuple[str, Script, str, Phase, str, str | None, str]] = [
    ("imap_auth", {"AUTHENTICATE": b"%t NO AUTHENTICATE failed.\r\n"},
     "exchange.imap_refused", Phase.AUTH, "NO", None, "AUTHENTICATE failed."),
    ("imap_auth", {"AUTHENTICATE": b"%t NO [UNAVAILABLE] Temporary authentication failure.\r\n"},
     "imap.unavailable", Phase.AUTH, "NO", "UNAVAILABLE", "[UNAVAILABLE] Temporary authentication failure."),
    ("imap_auth", {"AUTHENTICATE": b"%t NO [LIMIT] Maximum number of connections exceeded\r\n"},
     "imap.too_many_connections", Phase.AUTH, "NO", "LIMIT", "[LIMIT] Maximum number of connections exceeded"),
    ("imap_auth", {"AUTHENTICATE": [b"* BYE Too many failures\r\n", Do.HANG_UP]},
     "imap.unavailable", Phase.AUTH, "BYE", None, "Too many failures"),
    ("imap_auth", {"": b"* BYE [ALERT] Connection is closed. 13\r\n"},
     "imap.unavailable", Phase.BANNER, "BYE", "ALERT", "[ALERT] Connection is closed. 13"),
    ("imap_auth", {"EXAMINE": b"%t BAD User is authenticated but not connected.\r\n* BYE Connection closed. 14\r\n"},
     "exchange.not_connected", Phase.OPEN, "BAD", None, "User is authenticated but not connected."),
    ("imap_auth", {"EXAMINE": b"* BYE Connection closed. 14\r\n%t BAD User is authenticated but not connected.\r\n"},
     "exchange.not_connected", Phase.OPEN, "BAD", None,
     "User is authenticated but not connected.; Connection closed. 14"),
    ("imap_auth", {"EXAMINE": b"%t BAD Request is throttled. Suggested Backoff Time: 92415 milliseconds\r\n"},
     "imap.throttled", Phase.OPEN, "BAD", None, "Request is throttled. Suggested Backoff Time: 92415 milliseconds"),
    ("imap_auth", {"EXAMINE": b"%t NO SELECT failed\r\n"},
     "imap.mailbox_closed", Phase.OPEN, "NO", None, "SELECT failed"),
    ("imap_auth", {"CAPABILITY": b"%t BAD Command Error. 12\r\n"},
     "imap.command_refused", Phase.EHLO, "BAD", None, "Command Error. 12"),
    ("imap_auth", {"CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n%t OK\r\n"},
     "imap.xoauth2_missing", Phase.EHLO, "xoauth2_missing", None, ""),
    ("imap_auth", {"LOGOUT": b"%t BAD no\r\n"},
     "imap.unclean_quit", Phase.QUIT, "BAD", None, "no"),
    ("pop_auth", {"token": b"-ERR Authentication failure: unknown user name or bad password.\r\n"},
     "exchange.imap_refused", Phase.AUTH, "-ERR", None, "Authentication failure: unknown user name or bad password."),
    ("pop_auth", {"AUTH": b"-ERR [SYS/TEMP] not now\r\n"},
     "imap.unavailable", Phase.AUTH, "-ERR", "SYS/TEMP", "[SYS/TEMP] not now"),
    ("pop_auth", {"AUTH": b"-ERR [IN-USE] locked\r\n"},
     "imap.too_many_connections", Phase.AUTH, "-ERR", "IN-USE", "[IN-USE] locked"),
    ("pop_auth", {"STAT": b"-ERR no\r\n"}, "imap.mailbox_closed", Phase.OPEN, "-ERR", None, "no"),
    ("pop_auth", {"": b"-ERR busy\r\n"}, "imap.unavailable", Phase.BANNER, "-ERR", None, "busy"),
    ("pop_auth", {"CAPA": b"+OK\r\nTOP\r\n.\r\n"}, "imap.xoauth2_missing", Phase.EHLO, "xoauth2_missing", None, ""),
    ("pop_auth", {"QUIT": b"-ERR no\r\n"}, "imap.unclean_quit", Phase.QUIT, "-ERR", None, "no"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "part", "cause", "phase", "code", "enhanced", "text"), SAID)
async def test_what_a_server_says_reaches_the_evidence(
    desk: Desk, check: str, part: Script, cause: str, phase: Phase, code: str, enhanced: str | None, text: str
) -> None:
    """A refusal is known by its cause, with phase, status, response code and the server's own words."""
    result, _ = await desk.run(check, {**(IMAP if check == "imap_auth" else POP), **part}, seconds=2)
    assert (cause, phase, code) == verdict(result), result.worst
    assert enhanced == result.worst.evidence.enhanced_code
    assert text in result.worst.evidence.text
    assert result.transcript


@pytest.mark.parametrize("check", ["imap_auth", "pop_auth"])
async def test_a_refused_token_is_asked_why(desk: Desk, check: str) -> None:
    """The challenge that precedes a refusal is answered by an empty line and kept, and the token shows nowhere."""
    told: list[bytes] = []

    def refuse(line: bytes) -> bytes:
        told.append(line)
        return CHALLENGE if len(told) == 1 else b""

    if check == "imap_auth":
        script: Script = {**IMAP, "AUTHENTICATE": [CHALLENGE]}
    else:
        script = {**POP, "token": refuse}
    async with desk.playing(script) as server:
        original = server._say

        async def after_the_empty_line(name: str, line: bytes, reader: object, writer: object) -> None:
            await original(name, line, reader, writer)
            if (check, name) in {("imap_auth", "AUTHENTICATE"), ("pop_auth", "token")}:
                assert b"\r\n" == await reader.readline()
                writer.write(b"A2 NO AUTHENTICATE failed.\r\n" if check == "imap_auth" else b"-ERR no\r\n")

        server._say = after_the_empty_line
        target = desk.target(check, desk.endpoint(server.port))
        known = CHECKS[check]
        result = await run_check(known, target, known.settings(), desk.kit, watch="x", seconds=2)
    assert Phase.AUTH is result.worst.evidence.phase
    assert result.worst.evidence.text.endswith('; challenge {"status":"401","schemes":"bearer"}')
    assert TOKEN not in repr(result)
    assert ADDRESS not in repr(result)


FLOOD = 20_000
PHASES = {
    "imap_auth": {"": Phase.BANNER, "CAPABILITY": Phase.EHLO, "AUTHENTICATE": Phase.AUTH, "EXAMINE": Phase.OPEN,
                  "LOGOUT": Phase.QUIT},
    "pop_auth": {"": Phase.BANNER, "CAPA": Phase.EHLO, "AUTH": Phase.AUTH, "token": Phase.AUTH, "STAT": Phase.OPEN,
                 "QUIT": Phase.QUIT},
}  # fmt: skip
PLACES = [(check, name, phase) for check, places in PHASES.items() for name, phase in places.items()]
HOSTILE: dict[str, tuple[list[bytes | Do], set[Kind]]] = {
    "silence": ([Do.FALL_SILENT], {Kind.TIMEOUT}),
    "reset": ([Do.RESET], {Kind.RESET, Kind.CLOSED}),
    "close": ([Do.HANG_UP], {Kind.CLOSED, Kind.RESET}),
    "close in a line": ([b"* OK", Do.HANG_UP], {Kind.CLOSED, Kind.RESET}),
    "nonsense": ([b"220 smtp.example ESMTP\r\n", Do.FALL_SILENT], {Kind.NONSENSE}),
    "nothing": ([b"\r\n", Do.FALL_SILENT], {Kind.NONSENSE}),
    "NUL": ([b"\0\0\0\0\r\n", Do.FALL_SILENT], {Kind.NONSENSE}),
    "wrong tag": ([b"A99 OK done\r\n", Do.FALL_SILENT], {Kind.NONSENSE}),
    "binary": ([bytes(range(128, 256)) * 100 + b"\n", Do.FALL_SILENT], {Kind.NONSENSE}),
    "endless line": ([b"x" * 4096] * 64, {Kind.NONSENSE}),
}


@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize(("check", "name", "phase"), PLACES)
async def test_a_hostile_server_is_evidence(desk: Desk, check: str, name: str, phase: Phase, how: str) -> None:
    """Whatever comes or does not come, in whichever phase: a result in time, with phase, kind and a cause."""
    part, kinds = HOSTILE[how]
    script: Script = {**(IMAP if check == "imap_auth" else POP), name: part}
    result, _ = await desk.run(check, script, seconds=0.7)
    evidence = result.worst.evidence
    assert phase is evidence.phase, evidence
    assert evidence.kind in kinds, evidence
    assert result.worst.cause not in {"unrecognised", "monitor.defect"}
    assert (Outcome.WARN if phase is Phase.QUIT else Outcome.FAIL) is result.outcome
    assert result.seconds < 2


@pytest.mark.parametrize("line", [b"* \r\n", b"* X\r\n", b"* OK more\r\n", b"* 1 EXISTS\r\n"])
async def test_an_endless_answer_is_nonsense(desk: Desk, line: bytes) -> None:
    """Untagged responses without end, however short, end the run long before the deadline."""
    result, _ = await desk.run("imap_auth", {**IMAP, "EXAMINE": [line * 100] * (FLOOD // 100)})
    assert ("imap.nonsense", Phase.OPEN, None) == verdict(result)
    assert result.seconds < 5


async def test_an_endless_capability_is_nonsense(desk: Desk) -> None:
    """A list of capabilities by POP that never ends is nonsense too."""
    result, _ = await desk.run("pop_auth", {**POP, "CAPA": [b"+OK\r\n", *[b"X\r\n" * 100] * (FLOOD // 100)]})
    assert ("imap.nonsense", Phase.EHLO, None) == verdict(result)
    assert "answer of more than" in result.worst.evidence.text


@pytest.mark.parametrize("check", ["imap_auth", "pop_auth"])
async def test_a_dripping_server_ends_at_the_deadline(desk: Desk, check: str) -> None:
    """A byte now and then keeps no run alive."""
    part = [*[b"x"] * 50, Do.FALL_SILENT]
    name = "EXAMINE" if check == "imap_auth" else "STAT"
    result, _ = await desk.run(check, {**(IMAP if check == "imap_auth" else POP), name: part}, seconds=0.7)
    assert (Phase.OPEN, Kind.TIMEOUT) == (result.worst.evidence.phase, result.worst.evidence.kind)


CLEAR: dict[str, tuple[Script, str]] = {
    "imap_auth": (
        {**IMAP, "CAPABILITY": b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=XOAUTH2\r\n%t OK done\r\n"},
        "STARTTLS",
    ),
    "pop_auth": ({**POP, "CAPA": b"+OK\r\nSTLS\r\nSASL XOAUTH2\r\n.\r\n"}, "STLS"),
}
BEFORE_TLS: dict[str, tuple[bytes | list[bytes | Do], Phase, set[Kind]]] = {
    "injected": (b"A2 OK go\r\nA3 OK injected\r\n", Phase.STARTTLS, {Kind.NONSENSE}),
    "refused": (b"A2 NO never\r\n", Phase.STARTTLS, {Kind.REPLY}),
    "closed": ([b"A2 OK go\r\n", Do.HANG_UP], Phase.TLS, {Kind.CLOSED, Kind.RESET}),
    "reset": ([b"A2 OK go\r\n", Do.RESET], Phase.TLS, {Kind.CLOSED, Kind.RESET}),
    "silent": ([b"A2 OK go\r\n", Do.FALL_SILENT], Phase.TLS, {Kind.TIMEOUT}),
    "no TLS": ([b"A2 OK go\r\n", b"", b"* hello this is no TLS at all\r\n" * 9, Do.FALL_SILENT], Phase.TLS, {Kind.TLS}),
}


@pytest.mark.parametrize("check", CLEAR)
@pytest.mark.parametrize("how", BEFORE_TLS)
async def test_tls_by_command_is_all_or_nothing(desk: Desk, check: str, how: str) -> None:
    """What is injected behind the go-ahead, refused, cut or withheld ends the run there, and no token is sent."""
    part, phase, kinds = BEFORE_TLS[how]
    script, command = CLEAR[check]
    if check == "pop_auth":
        parts = part if isinstance(part, list) else [part]
        words = ((b"A2 OK", b"+OK"), (b"A2 NO", b"-ERR"), (b"A3 OK", b"+OK"))
        for old, new in words:
            parts = [one.replace(old, new) if isinstance(one, bytes) else one for one in parts]
        part = parts
    result, server = await desk.run(check, {**script, command: part}, tls=TlsMode.STARTTLS, seconds=0.5)
    evidence = result.worst.evidence
    assert evidence.kind in kinds, evidence
    # Where the clear text comes a moment later than the go-ahead, it is no TLS.
    assert phase is evidence.phase
    assert 2 == len(server.said)
    assert how != "injected" or "injected" in evidence.text


@pytest.mark.parametrize("check", CLEAR)
async def test_without_starttls_no_token_is_sent(desk: Desk, check: str) -> None:
    """A server that offers no encryption is not spoken to any further."""
    result, server = await desk.run(check, IMAP if check == "imap_auth" else POP, tls=TlsMode.STARTTLS)
    assert ("imap.starttls_missing", Phase.EHLO, "starttls_missing") == verdict(result)
    assert 1 == len(server.said)


@pytest.mark.parametrize("check", CLEAR)
async def test_clear_text_where_tls_should_be_is_no_tls(desk: Desk, check: str) -> None:
    """A server that greets in clear text on the TLS port is told apart from a certificate that fails."""
    async with desk.playing(IMAP if check == "imap_auth" else POP, TlsMode.STARTTLS) as server:
        target = desk.target(check, desk.endpoint(server.port, TlsMode.IMPLICIT))
        known = CHECKS[check]
        result = await run_check(known, target, known.settings(), desk.kit, watch="x", seconds=2)
    assert ("tls.not_tls", Phase.TLS) == verdict(result)[:2]


@pytest.mark.parametrize("check", CLEAR)
async def test_an_untrusted_certificate_ends_the_run_in_tls(desk: Desk, tmp_path: Path, check: str) -> None:
    """A certificate from a CA that nobody knows is refused, and nothing is said."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    async with desk.playing(IMAP if check == "imap_auth" else POP) as server:
        endpoint = dataclasses.replace(desk.endpoint(server.port), ca_file=str(tmp_path / "other.pem"))
        known = CHECKS[check]
        result = await run_check(known, desk.target(check, endpoint), known.settings(), desk.kit, watch="x", seconds=2)
    assert Kind.TLS is result.worst.evidence.kind
    assert Phase.TLS is result.worst.evidence.phase
    assert [] == server.said


@pytest.mark.parametrize(("check", "name"), [("imap_auth", "IMAP"), ("pop_auth", "POP")])
async def test_a_cloud_without_the_server_is_a_mistake_of_the_configuration(desk: Desk, check: str, name: str) -> None:
    """Where the cloud has no such endpoint the run says so and connects to nobody."""
    target = desk.target(check, desk.endpoint(1))
    cloud = dataclasses.replace(target.cloud, imap=None, pop=None)
    tenant = dataclasses.replace(target.credential.app.tenant, cloud=cloud)
    app = dataclasses.replace(target.credential.app, tenant=tenant)
    target = dataclasses.replace(target, credential=dataclasses.replace(target.credential, app=app))
    known = CHECKS[check]
    result = await run_check(known, target, known.settings(), desk.kit, watch="x", seconds=2)
    assert ("imap.not_configured", Phase.RESOLVE, f"{check.partition('_')[0]}_not_configured") == verdict(result)
    assert result.worst.evidence.text == f"cloud lab has no {name} server"
    assert ("tenant", "contoso") == (result.worst.subject.scope, result.worst.subject.key)
