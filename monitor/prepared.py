"""Everything of a configuration that can fail, made before anything live is touched: at the start and at a reload alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from checks.registry import CHECKS
from monitor.alerts.channels import ChannelError, Sender, open_channels
from monitor.config import Configuration, ConfigurationError, load, located
from monitor.plan import Plan, plan_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A configuration that can be put in force at once, and can no longer fail."""

    configuration: Configuration
    plan: Plan
    senders: Mapping[str, Sender]


def prepare(file: Path) -> Prepared:
    """Read a file, resolve its secrets, open its channels. Raises ConfigurationError with every problem.

    It blocks: on files, on commands that give secrets, and for 0.3 s when it loads Apprise.
    """
    configuration = load(file, CHECKS)
    try:
        senders = open_channels(configuration.channels)
    except ChannelError as error:
        wrong = ((("alerts", "channels", name, "url"), problem) for name, problem in error.problems.items())
        raise ConfigurationError(located(file, wrong)) from error
    return Prepared(configuration=configuration, plan=plan_of(configuration), senders=senders)
