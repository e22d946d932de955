"""The command `mailcanary`: arguments and exit codes only. Every command imports what it needs inside itself."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from monitor.version import VERSION

# The exit status of a configuration that cannot be used, as of a usage error.
BAD_INPUT = 2

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
    from monitor.cli.loading import load_or_exit, summary

    click.echo(summary(file, load_or_exit(file, secrets=not without_secrets)))


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
    from monitor.cli.check import check_once
    from monitor.cli.loading import load_or_exit

    sys.exit(check_once(load_or_exit(file), mailboxes, only, canary=canary, as_json=as_json))


def main() -> None:
    """The entry point."""
    cli()
