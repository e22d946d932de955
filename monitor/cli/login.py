"""`mailcanary login`: a person signs in with a device code, and the refresh token goes into the app's file."""

from __future__ import annotations

import click

from checks.core.check import Check
from checks.core.clock import SystemClock
from checks.core.kit import Kit, Prompt
from checks.core.material import RefreshToken
from checks.core.model import Phase, Result
from checks.core.run import run_check
from checks.core.settings import Settings
from checks.core.target import Credential, words_of
from checks.core.trace import Trace
from checks.wire.kit import open_kit
from monitor.cli import loop
from monitor.cli.waterfall import lines
from monitor.config import Configuration
from monitor.config.wording import listed

# Longer than any code is good for (Entra ID: 15 minutes), so that it is the authority who says that it has expired.
_PATIENCE = 3600.0


def sign_in(configuration: Configuration, app: str) -> int:
    """Ask a person to sign in, wait, and give the exit status."""
    credentials = {credential.app.id: credential for credential in configuration.credentials.values()}
    if app not in credentials:
        raise click.UsageError(f"there is no app {app!r}; known: {listed(credentials)}")
    material = credentials[app].material
    if not isinstance(material, RefreshToken):
        others = [name for name, other in credentials.items() if isinstance(other.material, RefreshToken)]
        raise click.UsageError(
            f"nobody signs in for {app}: its credential is not a refresh_token. Apps with one: {listed(others)}"
        )
    result = loop.run(_signing_in(configuration, credentials[app]))
    if result.findings:
        click.echo("\n".join(lines(app, result, lambda evidence: words_of(credentials[app], evidence))))
    else:
        click.echo(f"Signed in. The refresh token of {app} is in {material.file}.")
    return result.outcome.exit_code


async def _signing_in(configuration: Configuration, credential: Credential) -> Result:
    check = Check(
        name="login",
        target="credential",
        phases=(Phase.TOKEN,),
        settings=Settings,
        interval=_PATIENCE,
        timeout=_PATIENCE,
        always=False,
        run=_run,
    )
    async with open_kit(clock=SystemClock(), network=configuration.network) as kit:
        return await run_check(check, credential, Settings(), kit, watch=f"login/{credential.id}", seconds=_PATIENCE)


async def _run(target: Credential, _: Settings, trace: Trace, kit: Kit) -> None:
    await kit.tokens.sign_in(target, trace, _show)


def _show(prompt: Prompt) -> None:
    click.echo(f"Open     {click.style(prompt.page, bold=True)}")
    click.echo(f"Enter    {click.style(prompt.code, bold=True)}")
    click.echo(f"Waiting for you to sign in, {prompt.seconds / 60:.0f} minutes at the most. Ctrl-C gives up.", err=True)
