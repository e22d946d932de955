"""The configuration as the program uses it: domain objects, every reference resolved, every default filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from checks.core.settings import Settings
from checks.core.target import App, Credential, Mailbox
from monitor.model import Channel, Importance, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPlan:
    """How one check runs on one target. Interval and timeout are in seconds."""

    interval: float
    timeout: float
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredMailbox:
    """A mailbox with what the configuration says of it beside what the checks need."""

    mailbox: Mailbox
    importance: Importance
    labels: Mapping[str, str]
    checks: Mapping[str, CheckPlan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One whole, valid configuration. `store_url` is SQLAlchemy's; `retention` is in seconds."""

    apps: Mapping[str, App]
    credentials: Mapping[str, Credential]
    token_checks: Mapping[str, CheckPlan]
    mailboxes: tuple[ConfiguredMailbox, ...]
    channels: tuple[Channel, ...] = ()
    policy: Policy = field(default_factory=Policy)
    store_url: str
    listen: tuple[str, int]
    show_addresses: frozenset[str]
    retention: float
    ehlo_name: str = ""
