"""`mailcanary login`: a person signs in with a code, against the embedded Microsoft 365, and the token is kept."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from monitor.sim.contoso import BILLING_ID, DESK_ID, TENANT_ID
from tests.daemon.process import PATIENCE, bare_environment, command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from monitor.sim import Microsoft365

USER = "billing@contoso.example"


@pytest.fixture
def config(office: Microsoft365) -> Path:
    """A configuration with an app that acts for a user, and one that does not."""
    office.consents.interval_s = 1
    file = office.directory / "desk.yaml"
    (office.directory / "billing.secret").write_text("sham")
    file.write_text(f"""\
tenants:
  contoso: {{tenant_id: {TENANT_ID}, cloud: lab}}
apps:
  desk-mailer:
    tenant: contoso
    client_id: {DESK_ID}
    credential: {{refresh_token: {{file: desk.token}}}}
  billing-mailer: {{tenant: contoso, client_id: {BILLING_ID}, credential: {{secret: file:billing.secret}}}}
mailboxes:
  billing: {{address: {USER}, app: desk-mailer}}
clouds:
  lab:
    authority: {office.authority_url}
    smtp: {{host: localhost, port: {office.smtp_port}}}
    ca_file: ca.pem
network: {{family: ipv4}}
""")
    return file


@asynccontextmanager
async def login(file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, running, killed at the end of the block if it still does."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor", "login", "desk-mailer", "-c", str(file)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=bare_environment(),
    )
    try:
        async with asyncio.timeout(2 * PATIENCE):
            yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def prompted(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """The page and the code that a person is shown."""
    assert process.stdout is not None
    page, code = [(await process.stdout.readline()).decode().split() for _ in range(2)]
    assert ("Open", "Enter") == (page[0], code[0])
    return page[1], code[1]


async def test_a_person_signs_in_and_the_checks_pass(office: Microsoft365, config: Path) -> None:
    """Page and code are shown; once the code is typed the token is in its file, private, and mail can be sent with it."""
    token = config.parent / "desk.token"
    async with login(config) as process:
        page, code = await prompted(process)
        assert f"{office.authority_url}/device" == page
        assert not token.exists()
        office.consents.sign_in(code, USER)
        out, err = await process.communicate()
        assert 0 == process.returncode, err
    assert f"Signed in. The refresh token of desk-mailer is in {token}.\n" == out.decode()
    stored = json.loads(token.read_text())
    assert office.consents.knows(stored["refresh_token"])
    assert 0o600 == stat.S_IMODE(token.stat().st_mode)
    assert stored["refresh_token"] not in out.decode() + err.decode()
    for check in ("token", "smtp_auth"):
        status, out_text, _ = await command("check", "-c", str(config), "billing", "--check", check)
        assert 0 == status, out_text


async def test_ctrl_c_gives_up(config: Path) -> None:
    """Ctrl-C ends the waiting with 130, and no file is made."""
    async with login(config) as process:
        await prompted(process)
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert 130 == process.returncode
    assert b"Traceback" not in err
    assert not list(config.parent.glob("*desk.token*"))


async def test_a_sign_in_that_is_declined(office: Microsoft365, config: Path) -> None:
    """It is explained, with whose move it is, and ends with 2."""
    async with login(config) as process:
        office.consents.decline((await prompted(process))[1])
        out, _ = await process.communicate()
        assert 2 == process.returncode
    text = out.decode()
    assert "Sign-in was declined  (entra.sign_in_declined)" in text
    assert "whose move the owner of the mailbox" in text
    assert "mailcanary login desk-mailer" in text


@pytest.mark.parametrize(
    ("fault", "subject", "cause"),
    [
        ("delegated_consent_revoked", "desk-mailer", "entra.consent_missing"),
        ("app_missing", "desk-mailer", "entra.app_unknown"),
        ("tenant_unknown", "contoso.example", "entra.tenant_unknown"),
        ("refused", "entra", "network.refused"),
    ],
)
async def test_what_fails_before_there_is_a_code(
    office: Microsoft365, config: Path, fault: str, subject: str, cause: str
) -> None:
    """A wrong set-up is explained at once, by the same causes as elsewhere."""
    await office.inject(fault, subject)
    status, out, err = await command("login", "desk-mailer", "-c", str(config))
    assert (2, "") == (status, err)
    assert f"({cause})" in out


async def test_an_app_that_is_no_public_client(office: Microsoft365, config: Path) -> None:
    """The switch that is forgotten most often is named."""
    await office.inject("public_client_disabled", "desk-mailer")
    async with login(config) as process:
        await prompted(process)
        out, _ = await process.communicate()
        assert 2 == process.returncode
    assert "Allow public client flows" in out.decode()


async def test_a_code_that_expires(office: Microsoft365, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody typed the code: it is said so."""
    async with login(config) as process:
        await prompted(process)
        for code in office.consents._codes.values():
            code.ends_at = code.ends_at.replace(year=2001)
        out, _ = await process.communicate()
        assert 2 == process.returncode
    assert "(entra.sign_in_expired)" in out.decode()


async def test_a_file_that_cannot_be_written(config: Path) -> None:
    """It is found out before anybody is asked to sign in."""
    config.write_text(config.read_text().replace("file: desk.token", "file: nowhere/desk.token"))
    status, out, _ = await command("login", "desk-mailer", "-c", str(config))
    assert 2 == status
    assert "nowhere/desk.token: cannot be written: No such file or directory" in out
    assert "Enter" not in out


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("desk-mailr", "there is no app 'desk-mailr'; known: desk-mailer, billing-mailer"),
        ("billing-mailer", "nobody signs in for billing-mailer: its credential is not a refresh_token."),
    ],
)
async def test_an_app_that_nobody_signs_in_for(config: Path, app: str, words: str) -> None:
    """A wrong name and a wrong kind of credential are told with what there is."""
    status, out, err = await command("login", app, "-c", str(config))
    assert (2, "") == (status, out)
    assert words in " ".join(err.split())
    assert "desk-mailer" in err
