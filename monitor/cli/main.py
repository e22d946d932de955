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


def main() -> None:
    """The entry point."""
    cli()
