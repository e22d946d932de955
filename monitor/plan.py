"""The plan: a configuration turned into watches, each with its place in time; the difference of two plans. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from checks.core.settings import Settings
from checks.core.target import Credential, Target
from monitor.config import Configuration
from monitor.model import Importance


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One check on one target on one schedule: the unit that has state. Interval and timeout are in seconds."""

    id: str
    check: str
    target: Target
    settings: Settings
    interval: float
    timeout: float
    importance: Importance = Importance.NORMAL
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def credential(self) -> Credential:
        """The credential that the watch depends on, or is aimed at."""
        return self.target if isinstance(self.target, Credential) else self.target.credential

    @property
    def endpoint(self) -> str:
        """The endpoint that a run opens its connection to."""
        if isinstance(self.target, Credential):
            return self.target.cloud.authority_endpoint
        return str(self.target.endpoint)

    @property
    def mailbox(self) -> str | None:
        """The mailbox that a run occupies, if any: never two runs in one."""
        return None if isinstance(self.target, Credential) else self.target.id

    @property
    def names(self) -> Mapping[str, str]:
        """What it is about, in words that may be shown everywhere; `mailbox` is absent where it is about none."""
        credential = self.credential
        names = {"check": self.check, "tenant": credential.app.tenant.name, "app": credential.app.id}
        return names if self.mailbox is None else {**names, "mailbox": self.mailbox}

    @property
    def offset(self) -> float:
        """The watch's place inside its interval, in seconds: a stable hash, so that all are spread and none moves."""
        digest = hashlib.blake2b(self.id.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64 * self.interval


def watch_id(check: str, target: str) -> str:
    """How a watch is named."""
    return f"{check}/{target}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All watches by id."""

    watches: Mapping[str, Watch] = field(default_factory=dict)

    @staticmethod
    def of(watches: Iterable[Watch]) -> Plan:
        """A plan of these watches."""
        return Plan({watch.id: watch for watch in watches})

    @property
    def credentials(self) -> frozenset[Credential]:
        """The credentials that the plan uses."""
        return frozenset(watch.credential for watch in self.watches.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a new plan brings: a watch that changed in any respect is in `changed`, with its new form."""

    added: tuple[Watch, ...]
    changed: tuple[Watch, ...]
    removed: tuple[Watch, ...]


def plan_of(configuration: Configuration) -> Plan:
    """Every watch that the configuration asks for."""
    return Plan.of(_watches(configuration))


def _watches(configuration: Configuration) -> Iterator[Watch]:
    for credential_id, planned in configuration.token_checks.items():
        yield Watch(
            id=watch_id("token", credential_id),
            check="token",
            target=configuration.credentials[credential_id],
            settings=planned.settings,
            interval=planned.interval,
            timeout=planned.timeout,
        )
    for configured in configuration.mailboxes:
        for name, planned in configured.checks.items():
            yield Watch(
                id=watch_id(name, configured.mailbox.id),
                check=name,
                target=configured.mailbox,
                settings=planned.settings,
                interval=planned.interval,
                timeout=planned.timeout,
                importance=configured.importance,
                labels=configured.labels,
            )


def difference(before: Plan, after: Plan) -> Difference:
    """What has to be done to come from one plan to another."""
    old, new = before.watches, after.watches
    return Difference(
        added=tuple(watch for id_, watch in new.items() if id_ not in old),
        changed=tuple(watch for id_, watch in new.items() if id_ in old and old[id_] != watch),
        removed=tuple(watch for id_, watch in old.items() if id_ not in new),
    )
