"""Reading the configuration for a command: good, or an explanation and exit status 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from checks.registry import CHECKS
from monitor.config import Configuration, ConfigurationError, load
from monitor.plan import plan_of
from monitor.prepared import Prepared, prepare

T = TypeVar("T")


def load_or_exit(file: Path, *, secrets: bool = True) -> Configuration:
    """The configuration; on any error all of them go to stderr, and the command ends with status 2."""
    configuration = _or_exit(lambda: load(file, CHECKS, secrets=secrets))
    _warn(configuration)
    return configuration


def prepare_or_exit(file: Path) -> Prepared:
    """The configuration with its channels opened, ready to be put in force; on any error as above."""
    prepared = _or_exit(lambda: prepare(file))
    _warn(prepared.configuration)
    return prepared


def _or_exit(read: Callable[[], T]) -> T:
    try:
        return read()
    except ConfigurationError as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def _warn(configuration: Configuration) -> None:
    for warning in configuration.warnings:
        click.echo(str(warning), err=True)


def summary(file: Path, configuration: Configuration) -> str:
    """What a good configuration amounts to, in one line."""
    counts = {
        "app": len(configuration.apps),
        "mailbox": len(configuration.mailboxes),
        "watch": len(plan_of(configuration).watches),
        "alert channel": len(configuration.channels),
    }
    parts = [f"{count} {word if count == 1 else plural(word)}" for word, count in counts.items()]
    return f"{file}: good. {', '.join(parts)}."


def plural(word: str) -> str:
    """More than one of it."""
    return f"{word}es" if word.endswith(("x", "ch")) else f"{word}s"
