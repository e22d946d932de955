"""Reading the configuration for a command: good, or an explanation and exit status 2."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from checks.registry import CHECKS
from monitor.config import Configuration, ConfigurationError, load
from monitor.plan import plan_of


def load_or_exit(file: Path, *, secrets: bool = True) -> Configuration:
    """The configuration; on any error all of them go to stderr, and the command ends with status 2."""
    try:
        return load(file, CHECKS, secrets=secrets)
    except ConfigurationError as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def summary(file: Path, configuration: Configuration) -> str:
    """What a good configuration amounts to, in one line."""
    plan = plan_of(configuration)
    return (
        f"{file}: good. {len(configuration.apps)} apps, {len(configuration.mailboxes)} mailboxes, "
        f"{len(plan.watches)} watches, {len(configuration.channels)} alert channels."
    )
