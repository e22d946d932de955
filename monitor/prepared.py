"""Everything of a configuration that can fail, made before anything live is touched: at the start and at a reload alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks.registry import CHECKS
from monitor.alerts.channels import ChannelError, Sender, open_channels
from monitor.config import Configuration, load
from monitor.model import Channel
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
    senders: dict[str, Sender] = {}

    def opened(channels: Sequence[Channel]) -> Mapping[str, str]:
        try:
            senders.update(open_channels(channels))
        except ChannelError as error:
            return error.problems
        return {}

    configuration = load(file, CHECKS, channels=opened)
    return Prepared(configuration=configuration, plan=plan_of(configuration), senders=senders)
