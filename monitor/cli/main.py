"""The command `mailcanary`: arguments and exit codes only. Every command imports what it needs inside itself."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.version import VERSION

_CONFIG = click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path),
    default="mailcanary.yaml",
    envvar="MAILCANARY_CONFIG",
    show_default=True,
    help="The configuration file.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="mailcanary")
def cli() -> None:
    """Watch that applications can send mail through Microsoft 365 with OAuth2."""


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--without-secrets", is_flag=True, help="Do not read the secrets that the file refers to.")
def validate(file: Path, *, without_secrets: bool) -> None:
    """Check a configuration FILE. Exits 0 when it can be used, 2 with every error and its place when not."""
    from monitor.cli.loading import load_or_exit, prepare_or_exit, summary

    configuration = load_or_exit(file, secrets=False) if without_secrets else prepare_or_exit(file).configuration
    click.echo(summary(file, configuration))


@cli.command()
@_CONFIG
@click.argument("mailboxes", nargs=-1, metavar="[MAILBOX]...")
@click.option("--check", "only", multiple=True, metavar="NAME", help="Run only this check; may be repeated.")
@click.option("--canary", is_flag=True, help="Send a canary too, also where none is configured.")
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON, one array.")
def check(file: Path, mailboxes: tuple[str, ...], only: tuple[str, ...], *, canary: bool, as_json: bool) -> None:
    """Check mailboxes once, all or the named ones, with the credentials behind them.

    Exits 0 when all pass, 1 when degraded, 2 when something fails, 3 when nothing is known.
    """
    from monitor.cli import loop
    from monitor.cli.check import check_once
    from monitor.cli.loading import load_or_exit

    loop.end(check_once(load_or_exit(file), mailboxes, only, canary=canary, as_json=as_json))


@cli.command()
@_CONFIG
@click.argument("app")
def login(app: str, file: Path) -> None:
    """Sign in as a user, for an APP with a refresh_token.

    Shows a page and a code, waits until somebody has signed in there, and keeps the refresh token in the app's file. Exits
    0 when it is kept, 2 when not, with the reason.
    """
    from monitor.cli import loop
    from monitor.cli.loading import load_or_exit
    from monitor.cli.login import sign_in

    loop.end(sign_in(load_or_exit(file), app))


@cli.command()
@_CONFIG
@click.option(
    "--events",
    type=click.Choice(["auto", "json", "text"]),
    default="auto",
    show_default=True,
    help="How events are printed: JSON lines, or text for people; auto is text on a terminal.",
)
def run(file: Path, *, events: str) -> None:
    """Run the daemon until SIGTERM or Ctrl-C. SIGHUP reads the configuration again.

    Exits 0 when it was stopped, 2 when the configuration is wrong or the daemon cannot start.
    """
    from monitor.cli.run import run_daemon

    run_daemon(file, events=events)


def _duration(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    from monitor.config.model import seconds

    try:
        return None if value is None else seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@cli.command()
@click.option(
    "--for", "length", metavar="DURATION", callback=_duration, help="Squeeze the script into this time, and end."
)
def demo(length: float | None) -> None:
    """Watch an embedded Microsoft 365 that is broken and repaired by a script, until Ctrl-C.

    Exits 0 when everything that was broken was found, told and seen to recover, 2 when not, 3 when it was stopped early.
    """
    from monitor.cli.demo import run_demo

    run_demo(length)


def _answer(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from monitor.cli.init import QUESTIONS

    try:
        return None if value is None else QUESTIONS[str(parameter.name)].judge(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default="mailcanary.yaml")
@click.option("--tenant", callback=_answer, metavar="ID", help="GUID of the tenant, or one of its domains.")
@click.option("--client-id", callback=_answer, metavar="ID", help="Application (client) ID of the app that sends.")
@click.option("--secret", callback=_answer, metavar="REFERENCE", help="Where its secret is.")
@click.option("--certificate", callback=_answer, metavar="FILE", help="Its certificate instead: PEM or PFX.")
@click.option("--passphrase", callback=_answer, metavar="REFERENCE", help="Where the passphrase of its key is.")
@click.option("--mailbox", callback=_answer, metavar="ADDRESS", help="A mailbox that the app sends as.")
@click.option("--channel", callback=_answer, metavar="REFERENCE", help="Where the Apprise URL for alerts is, or none.")
@click.option("--yes", is_flag=True, help="Ask nothing: defaults for what is not given.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def init(file: Path, *, yes: bool, force: bool, **given: str | None) -> None:
    """Write a first configuration FILE. What no option says is asked; without FILE it is mailcanary.yaml.

    A REFERENCE is env:NAME, file:PATH or cmd:COMMAND: secrets are never asked for. Exits 2 when nothing was written.
    """
    from monitor.cli.init import write_first

    write_first(file, given, ask=not yes, force=force)


@cli.command()
def schema() -> None:
    """Print the JSON Schema of the configuration. Editors complete and check a file by it."""
    from monitor.cli.schema import schema_text

    click.echo(schema_text())


def main() -> None:
    """The entry point."""
    cli()
