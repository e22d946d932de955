"""The configuration as the program uses it: domain objects, every reference resolved, every default filled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from checks.core import kit
from checks.core.settings import Settings
from checks.core.target import App, Credential, Inbox, Mailbox, Target
from monitor.config.changes import Stamps
from monitor.config.problems import Problem
from monitor.model import Channel, Importance, Lateness, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPlan:
    """How one check runs on one target. Interval and timeout are in seconds."""

    interval: float
    timeout: float
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """A target with what the configuration says of it beside what the checks need."""

    target: Target
    checks: Mapping[str, CheckPlan]
    importance: Importance = Importance.NORMAL
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(kit.Network):
    """How we reach others; `reach` is what must be reachable, as HOST:PORT, or else our own network is what failed."""

    reach: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One whole, valid configuration. `store_url` is SQLAlchemy's; `retention` is in seconds.

    `warnings` tell of rows of fleets that were left out. `files` are those it was read from, as they were just before: the
    main file, then the fleets. `usual` are plans for checks of mailboxes that say nothing of them, whether they run or not.
    """

    apps: Mapping[str, App]
    targets: tuple[Configured, ...]
    usual: Mapping[str, CheckPlan]
    channels: tuple[Channel, ...] = ()
    policy: Policy = field(default_factory=Policy)
    store_url: str
    listen: tuple[str, int]
    show_addresses: frozenset[str]
    retention: float
    network: Network = field(default_factory=Network)
    lateness: Lateness = field(default_factory=Lateness)
    warnings: tuple[Problem, ...] = ()
    files: Stamps = ()

    @property
    def credentials(self) -> Mapping[str, Credential]:
        """The credentials, by id."""
        return {target.id: target for target in self._targets() if isinstance(target, Credential)}

    @property
    def mailboxes(self) -> Mapping[str, Mailbox]:
        """The mailboxes, by id."""
        return {target.id: target for target in self._targets() if isinstance(target, Mailbox)}

    @property
    def inboxes(self) -> Mapping[str, Inbox]:
        """The inboxes that are read, by id."""
        return {target.id: target for target in self._targets() if isinstance(target, Inbox)}

    def _targets(self) -> Iterator[Target]:
        return (configured.target for configured in self.targets)
