"""`mailcanary check`: every wanted watch once, against the embedded Microsoft 365, as people and programs read it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checks.core.causes import table
from tests.daemon.process import PATIENCE, bare_environment, command

if TYPE_CHECKING:
    from monitor.sim import Microsoft365

GOLDEN = Path(__file__).parents[1] / "golden" / "cli" / "check"
PAYSLIPS = "payslips@contoso.example"
BILLING = "billing@contoso.example"
ESCAPE = "\x1b"
BEHIND_PAYSLIPS = {"hr-portal/current token": "PASS", "localhost/ipv4 endpoint": "PASS"}


@pytest.fixture
def file(file: Path) -> Path:
    """The daemon's file, with time enough for each check."""
    file.write_text(re.sub(r"timeout: 1s", "timeout: 20s", file.read_text().replace("interval: 1s", "interval: 60s")))
    return file


async def check(file: Path, *arguments: str) -> tuple[int, str, str]:
    """Run `mailcanary check` on a file."""
    return await command("check", "-c", str(file), *arguments)


def normal(text: str) -> str:
    """The text with all times, bars and names of servers made equal."""
    text = re.sub(r"^(  [a-z ]{9})[ █]{32} +\d+\.\d ms", r"\1████ 1.0 ms", text, flags=re.MULTILINE)
    text = re.sub(r"  \d+ ms$", "  1 ms", text, flags=re.MULTILINE)
    return re.sub(r"\[\S+\.OUTLOOK\.COM \S+ \w+\]", "[SERVER]", text)


def verdicts(out: str) -> dict[str, str]:
    """The verdict of each watch that was printed: `name check` → verdict; ports are left out."""
    found = re.findall(r"^(\S+)  (\w+)  ([A-Z]+)  \d+ ms$", out, re.MULTILINE)
    return {f"{re.sub(r':[0-9]+/', '/', name)} {what}": verdict for name, what, verdict in found}


async def test_all_is_well(file: Path) -> None:
    """Credentials, endpoints, the inbox and all mailboxes pass, status 0; nothing is sent, and what is no terminal gets no escape codes."""
    status, out, err = await check(file)
    assert (0, "") == (status, err)
    seen = verdicts(out)
    assert {"PASS"} == set(seen.values())
    assert {"billing-mailer/current token", "hr-portal/current token", f"{PAYSLIPS} smtp_auth"} <= seen.keys()
    assert 3 + 1 + 1 + 8 == len(seen)  # both endpoints are on one host
    assert ESCAPE not in out


async def test_one_mailbox_and_the_credential_behind_it(file: Path) -> None:
    """A named mailbox is checked with its own credential and endpoint, and nothing else is."""
    status, out, _ = await check(file, "payslips")
    assert 0 == status
    assert {**BEHIND_PAYSLIPS, f"{PAYSLIPS} smtp_auth": "PASS"} == verdicts(out)


async def test_one_check(file: Path) -> None:
    """`--check token` checks the credentials and no mailbox."""
    status, out, _ = await check(file, "--check", "token")
    assert 0 == status
    apps = ("billing-mailer", "hr-portal", "mailcanary-reader")
    assert {f"{app}/current token": "PASS" for app in apps} == verdicts(out)


async def test_a_canary_is_sent_only_when_asked_for(office: Microsoft365, file: Path) -> None:
    """Without `--canary` nothing leaves; with it the configured inbox gets one, and an unconfigured mailbox its own."""
    await check(file, "billing", "payslips")
    assert not office.world.submissions
    status, out, _ = await check(file, "billing", "payslips", "--canary")
    assert 0 == status
    assert {f"{BILLING} canary", f"{PAYSLIPS} canary"} <= verdicts(out).keys()
    sent = {submission.mailbox: submission.describe()["recipients"] for submission in office.world.submissions}
    assert {BILLING: ["canary@contoso.example"], PAYSLIPS: [PAYSLIPS]} == sent


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["billng"], "no such mailbox: billng. Known are: billing, box0001, box0002, box0003, "),
        (
            ["--check", "smpt_auth"],
            "no such check: smpt_auth. Known are: token, endpoint, smtp_auth, imap_auth, pop_auth, canary, inbox\n",
        ),
        (["--check", "canary"], "the check canary sends a message: confirm it with --canary\n"),
    ],
)
async def test_a_wrong_wish_names_the_right_ones(file: Path, arguments: list[str], said: str) -> None:
    """What does not exist, and what would send mail by surprise, is a usage error: status 2, and nothing is checked."""
    status, out, err = await check(file, *arguments)
    assert (2, "") == (status, out)
    assert f"\nError: {said}" in err


async def test_nothing_to_check_is_not_success(file: Path) -> None:
    """When all that was wanted is switched off, nothing is known: status 3 and a word about it, never a silent 0."""
    file.write_text(file.read_text().replace("app: hr-portal}", "app: hr-portal, checks: {smtp_auth: false}}"))
    status, out, err = await check(file, "payslips", "--check", "smtp_auth")
    assert (3, "") == (status, out)
    assert err.startswith("nothing to check: ")
    assert (3, "[]\n") == (await check(file, "payslips", "--check", "smtp_auth", "--json"))[:2]


async def test_a_broken_mailbox_reads_as_agreed(office: Microsoft365, file: Path) -> None:
    """Phase, evidence, cause, meaning, whose move and numbered steps stand in the output; status 2."""
    await office.inject("smtp_auth_disabled_mailbox", PAYSLIPS)
    status, out, err = await check(file, "payslips", "--check", "smtp_auth")
    assert (2, "") == (status, err)
    assert (GOLDEN / "broken-mailbox.txt").read_text() == normal(out)


async def test_an_expired_secret_reads_as_agreed(office: Microsoft365, file: Path) -> None:
    """The words of Entra ID are the evidence of the credential's failure; status 2."""
    await office.inject("secret_expired", "billing-mailer")
    status, out, _ = await check(file, "billing", "--check", "token")
    assert 2 == status
    assert "AADSTS7000222: " in out
    assert f"\n  {table()['entra.secret_expired'].title}  (entra.secret_expired)\n" in out
    assert "\n    where      credential billing-mailer/current, phase token\n" in out
    assert "\n    next step  1. " in out


async def test_a_busy_mailbox_is_degraded(office: Microsoft365, file: Path) -> None:
    """Throttled is not broken: status 1."""
    await office.inject("mailbox_busy", BILLING)
    status, out, _ = await check(file, "billing", "--canary")
    assert 1 == status
    assert "THROTTLED" in verdicts(out).values()
    assert "FAIL" not in verdicts(out).values()


async def test_as_json_it_is_one_array_without_anything_private(office: Microsoft365, file: Path) -> None:
    """Programs get each result whole, with its outcome, also when addresses may show; status as for people."""
    await office.inject("smtp_auth_disabled_mailbox", PAYSLIPS)
    status, out, err = await check(file, "payslips", "--json")
    assert (2, "") == (status, err)
    results: list[dict[str, Any]] = json.loads(out)
    said = {result["check"]: result["outcome"] for result in results}
    assert {"token": "pass", "endpoint": "pass", "smtp_auth": "fail"} == said
    keys = [
        "run_id",
        "watch",
        "check",
        "started_at",
        "seconds",
        "phases",
        "measures",
        "facts",
        "findings",
        "transcript",
        "outcome",
    ]
    assert [keys, keys, keys] == [list(result) for result in results]
    (finding,) = results[-1]["findings"]
    assert "exchange.smtp_auth_disabled_mailbox" == finding["cause"]
    assert {"scope": "mailbox", "key": "payslips"} == finding["subject"]
    assert ("auth", "535", "5.7.139") == tuple(finding["evidence"][key] for key in ("phase", "code", "enhanced_code"))
    assert "@contoso.example" not in out
    assert "sim8Q~" not in out
    assert "eyJ" not in out


@pytest.mark.parametrize("places", ["cli", "notices"])
async def test_addresses_show_only_where_they_may(office: Microsoft365, file: Path, places: str) -> None:
    """With `cli` among privacy.addresses the mailbox is named by its address, also in the steps; else by its id."""
    file.write_text(f"{file.read_text()}privacy: {{addresses: [{places}]}}\n")
    await office.inject("smtp_auth_disabled_mailbox", PAYSLIPS)
    _, out, _ = await check(file, "payslips", "--check", "smtp_auth")
    shown = PAYSLIPS if places == "cli" else "payslips"
    assert {f"{shown} smtp_auth": "FAIL"} == verdicts(out)
    assert f"Set-CASMailbox -Identity {PAYSLIPS if places == 'cli' else '<address>'} " in out
    assert (places == "cli") == ("@" in out)


async def on_a_terminal(file: Path, *arguments: str) -> tuple[int, str]:
    """Run it on a pseudo-terminal: the status, and everything that the terminal was sent."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor", "check", "-c", str(file), *arguments),
        **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        env={**bare_environment(), "TERM": "xterm-256color"},
    )
    os.close(theirs)

    def read() -> bytes:
        seen = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux: the other end is closed
                return seen
            if not part:
                return seen
            seen += part

    reading = asyncio.create_task(asyncio.to_thread(read))
    try:
        async with asyncio.timeout(PATIENCE):
            status = await process.wait()
    except TimeoutError:
        process.kill()  # or the thread would read for ever
        raise
    finally:
        seen = await reading
        os.close(ours)
    return status, seen.decode()


def lines_on_screen(sent: str) -> list[str]:
    """What stands on the screen at the end, for programs that only return and erase to the end of the line."""
    shown = []
    for line in re.sub(r"\x1b\[[\d;]*m", "", sent).replace("\r\n", "\n").split("\n"):
        last = line.rpartition("\r")[2]
        shown.append(last.replace("\x1b[K", ""))
    return shown


async def test_a_terminal_gets_colours_and_a_line_of_progress(office: Microsoft365, file: Path) -> None:
    """Verdicts are coloured; the progress is told from the start, in a line of its own that is gone at the end."""
    await office.inject("smtp_auth_disabled_mailbox", PAYSLIPS)
    status, sent = await on_a_terminal(file, "payslips")
    assert 2 == status
    assert "\x1b[31m\x1b[1mFAIL\x1b[0m" in sent
    assert "\x1b[32m\x1b[1mPASS\x1b[0m" in sent
    assert ["0 of 3", "1 of 3", "2 of 3", "3 of 3"] == re.findall(r"\r(\d of 3) checked\x1b\[K", sent)
    screen = lines_on_screen(sent)
    assert not [line for line in screen if "checked" in line]
    assert {**BEHIND_PAYSLIPS, f"{PAYSLIPS} smtp_auth": "FAIL"} == verdicts("\n".join(screen))


async def test_a_hostile_server_cannot_write_to_the_terminal(office: Microsoft365, file: Path) -> None:
    """No control character of a reply arrives: it can not set the title, move the cursor, or turn a verdict green."""
    reply = "535 5.7.3 \x1b]0;owned\x07\x1b[2J\x1b[1;1H\x1b[32mPASS\x9b31m \u202egnp.exe"
    await office.inject("smtp_reply", "smtp", {"phase": "auth", "reply": reply})
    status, sent = await on_a_terminal(file, "payslips", "--check", "smtp_auth")
    assert 2 == status
    assert "owned" in sent
    ours = re.compile(r"\x1b\[(?:\d{1,2}m|K)|[\r\n]")
    assert [] == [letter for letter in ours.sub("", sent) if not letter.isprintable()]
    assert "\x1b[32mPASS" not in sent
    assert {f"{PAYSLIPS} smtp_auth": "FAIL"} == verdicts("\n".join(lines_on_screen(sent)))


async def test_a_reader_that_leaves_early_gets_no_traceback(office: Microsoft365, file: Path) -> None:
    """`mailcanary check | head -1` goes on without a word, and its status is that of all checks."""
    await office.inject("smtp_auth_disabled_mailbox", PAYSLIPS)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor", "check", "-c", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=bare_environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readline()
    process._transport.get_pipe_transport(1).close()
    async with asyncio.timeout(PATIENCE):
        assert b"" == await process.stderr.read()
        assert 2 == await process.wait()


async def test_a_canary_is_awaited_and_its_arrival_is_told(office: Microsoft365, file: Path) -> None:
    """The command ends when the canary is found: where, how long after, and when; the delivery has a verdict."""
    status, out, err = await check(file, "billing", "--canary")
    assert (0, "") == (status, err)
    assert "PASS" == verdicts(out)[f"{BILLING} delivery"]
    assert re.search(
        r"^  arrived    in inbox canary-inbox, \d+ s after it was sent, at \d\d:\d\d:\d\d UTC$", out, re.MULTILINE
    )
    await office.inject("delivery_junked", BILLING)
    status, out, _ = await check(file, "billing", "--canary")
    assert (1, "WARN") == (status, verdicts(out)[f"{BILLING} delivery"])
    assert "in inbox canary-inbox, folder junk, " in out


async def test_a_canary_that_does_not_come_is_lost_after_its_time(office: Microsoft365, file: Path) -> None:
    """Nobody waits for ever: when the time of the configuration is over, it is said to be lost."""
    await office.inject("delivery_lost", BILLING)
    status, out, _ = await check(file, "billing", "--canary")
    assert (2, "FAIL") == (status, verdicts(out)[f"{BILLING} delivery"])
    assert "canary.lost" in out


async def test_an_inbox_that_cannot_be_read_ends_the_wait(office: Microsoft365, file: Path) -> None:
    """What is in it nobody knows: its own failure is shown, and no verdict on the canary."""
    await office.inject("imap_disabled", "canary@contoso.example")
    status, out, _ = await check(file, "billing", "--canary")
    seen = verdicts(out)
    assert (2, "FAIL") == (status, seen["canary@contoso.example inbox"])
    assert f"{BILLING} delivery" not in seen


async def test_a_canary_that_no_mailbox_asks_for_is_sent_as_the_defaults_say(file: Path) -> None:
    """The defaults name an inbox, so it is awaited there; without one it is said that nobody looks for it."""
    status, out, _ = await check(file, "payslips", "--canary", "--check", "canary")
    assert (0, {f"{PAYSLIPS} canary": "PASS"}) == (status, verdicts(out))
    assert "  sent       where nobody looks for it: `to` of the canary names no inbox that is read\n" in out
    file.write_text(file.read_text().replace("    canary: {", "    canary: {to: [canary-inbox], "))
    status, out, _ = await check(file, "payslips", "--canary", "--check", "canary")
    assert (0, {f"{PAYSLIPS} canary": "PASS", f"{PAYSLIPS} delivery": "PASS"}) == (status, verdicts(out))
    assert "  arrived    in inbox canary-inbox, " in out
    assert "nobody looks for it" not in out


async def test_nothing_is_taken_out_of_an_inbox(file: Path) -> None:
    """A daemon that was stopped, or reads less often, still finds its canaries there."""
    text = file.read_text()
    file.write_text(text.replace("    inbox: {", "    inbox: {keep_seconds: 0, "))
    assert text != file.read_text()
    await check(file, "billing", "--canary")
    status, out, _ = await check(file, "--check", "inbox", "--json")
    (read,) = json.loads(out)
    assert (0, 1) == (status, sum("canary_id" in fact for fact in read["facts"]))
