"""The plan: a configuration turned into watches, each with its place in time; the difference of two plans. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from checks.core.settings import Settings
from checks.core.target import Credential, OwnNetwork, Target
from monitor.config import Configuration
from monitor.model import Importance

# The watch of what becomes of a mailbox's canaries: no check runs for it.
DELIVERY = "delivery"
# The watch of our own network: no check runs for it either. From one look to the next, and for one look, in seconds.
NETWORK = "network"
REACH_INTERVAL, REACH_TIMEOUT = 15.0, 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One check on one target on one schedule: the unit that has state. Interval and timeout are in seconds.

    A `derived` one is never due: its results follow from those of others.
    """

    id: str
    check: str
    target: Target
    settings: Settings
    interval: float
    timeout: float
    importance: Importance = Importance.NORMAL
    labels: Mapping[str, str] = field(default_factory=dict)
    derived: bool = False

    @property
    def names(self) -> Mapping[str, str]:
        """What it is about, in words that may be shown everywhere."""
        return {"check": self.check, **self.target.names}

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
        return frozenset(credential for watch in self.watches.values() if (credential := watch.target.credential))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a new plan brings: a watch that changed in any respect is in `changed`, with its new form."""

    added: tuple[Watch, ...]
    changed: tuple[Watch, ...]
    removed: tuple[Watch, ...]


def plan_of(configuration: Configuration) -> Plan:
    """Every watch that the configuration asks for."""
    return Plan.of([*_watches(configuration), *_deliveries(configuration), *_own_network(configuration)])


def _watches(configuration: Configuration) -> Iterator[Watch]:
    for configured in configuration.targets:
        for name, planned in configured.checks.items():
            yield Watch(
                id=watch_id(name, configured.target.id),
                check=name,
                target=configured.target,
                settings=planned.settings,
                interval=planned.interval,
                timeout=planned.timeout,
                importance=configured.importance,
                labels=configured.labels,
            )


def _deliveries(configuration: Configuration) -> Iterator[Watch]:
    """A derived watch for each mailbox whose canaries go to an inbox that is read."""
    inboxes = configuration.inboxes
    for configured in configuration.targets:
        canary = configured.checks.get("canary")
        if canary is not None and any(inbox.id in inboxes for inbox in getattr(canary.settings, "to", ())):
            yield Watch(
                id=watch_id(DELIVERY, configured.target.id),
                check=DELIVERY,
                target=configured.target,
                settings=Settings(),
                interval=canary.interval,
                timeout=canary.timeout,
                importance=configured.importance,
                labels=configured.labels,
                derived=True,
            )


def _own_network(configuration: Configuration) -> Iterator[Watch]:
    """The watch of our own network, if we know whether it is up."""
    if reach := configuration.network.reach:
        target = OwnNetwork(reach=reach)
        yield Watch(
            id=watch_id(NETWORK, target.id),
            check=NETWORK,
            target=target,
            settings=Settings(),
            interval=REACH_INTERVAL,
            timeout=REACH_TIMEOUT,
            derived=True,
        )


def difference(before: Plan, after: Plan) -> Difference:
    """What has to be done to come from one plan to another."""
    old, new = before.watches, after.watches
    return Difference(
        added=tuple(watch for id_, watch in new.items() if id_ not in old),
        changed=tuple(watch for id_, watch in new.items() if id_ in old and old[id_] != watch),
        removed=tuple(watch for id_, watch in old.items() if id_ not in new),
    )
