"""The configuration as the program uses it: domain objects, every reference resolved, every default filled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from checks.core.secret import Secret
from checks.core.settings import Settings
from checks.core.target import App, Credential, Family, Inbox, Mailbox, Target
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
class Network:
    """How we reach others. `proxy` may hold a password; `reach` is what must be reachable, as HOST:PORT."""

    ehlo_name: str = ""
    proxy: Secret | None = None
    family: Family = Family.ANY
    source_address: str | None = None
    reach: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One whole, valid configuration. `store_url` is SQLAlchemy's; `retention` is in seconds."""

    apps: Mapping[str, App]
    targets: tuple[Configured, ...]
    channels: tuple[Channel, ...] = ()
    policy: Policy = field(default_factory=Policy)
    store_url: str
    listen: tuple[str, int]
    show_addresses: frozenset[str]
    retention: float
    network: Network = field(default_factory=Network)
    lateness: Lateness = field(default_factory=Lateness)

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
