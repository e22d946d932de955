"""The one world that all servers share: what is declared, what is broken, what happened.

The world holds no socket and starts nothing. Its clock and its dice are handed in. What the servers read (`tenant`,
`app`, `mailbox`) is the declared record with every fault in force applied to it, in the order of their injection.
"""

from __future__ import annotations

import uuid
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from monitor.sim.fault_settings import AtPhase, OtherCertificate, Settings, SmtpReply
from monitor.sim.faults import Fault, FaultError, kind_named, read_settings
from monitor.sim.mail import Store
from monitor.sim.records import App, Mailbox, Tenant
from monitor.sim.traffic import KEPT_SUBMISSIONS, Submission, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime
    from random import Random

    from monitor.sim.faults import Kind

S = TypeVar("S", bound=Settings)

Record = Tenant | App | Mailbox


class World:
    """Tenants, apps and mailboxes, the faults in force, and the traffic.

    `now` gives aware UTC; `rng` is the only source of randomness.
    """

    def __init__(
        self,
        *,
        tenants: Iterable[Tenant],
        apps: Iterable[App],
        mailboxes: Iterable[Mailbox],
        now: Callable[[], datetime],
        rng: Random,
    ) -> None:
        self.now = now
        self.rng = rng
        self._declared: dict[tuple[str, str], Record] = {}
        self._current: dict[tuple[str, str], Record] = {}
        self._names: dict[tuple[str, str], tuple[str, str]] = {}
        self._numbers = count(1)
        self.faults: dict[str, Fault] = {}
        self._wire: list[Fault] = []
        self.traffic: dict[str, Traffic] = {}
        self.submissions: deque[Submission] = deque(maxlen=KEPT_SUBMISSIONS)
        self._stores: dict[str, Store] = {}
        records: tuple[Record, ...] = (*tenants, *apps, *mailboxes)
        for record in records:
            self.declare(record)

    def declare(self, record: Record) -> None:
        """Add a record, or put it in the place of the one with its id: how an administrator changes the world."""
        key, *others = _names_of(record)
        self._declared[key] = record
        self._names.update(dict.fromkeys((key, *others), key))
        self._fold(key)

    def tenant(self, name: str) -> Tenant | None:
        """The tenant of that id or domain, as it is now."""
        found = self._find("tenant", name)
        return found if isinstance(found, Tenant) and found.exists else None

    def app(self, tenant: Tenant, client_id: str) -> App | None:
        """The app of that client id in the tenant, as it is now."""
        found = self._find("app", client_id)
        if not isinstance(found, App) or found.tenant != tenant.id or not found.exists:
            return None
        return found

    def app_registered(self, client_id: str) -> App | None:
        """The app of that client id, even if it was deleted: its tokens live until they expire."""
        found = self._find("app", client_id)
        return found if isinstance(found, App) else None

    def mailbox(self, address: str) -> Mailbox | None:
        """The mailbox of that address, as it is now."""
        found = self._find("mailbox", address)
        return found if isinstance(found, Mailbox) else None

    def records(self, sort: str) -> list[Record]:
        """All records of one sort (tenant, app, mailbox), as they are now."""
        return [record for (kind, _), record in self._current.items() if kind == sort]

    def traffic_of(self, address: str) -> Traffic:
        """The counters of a mailbox."""
        return self.traffic.setdefault(address.lower(), Traffic())

    def store(self, address: str) -> Store:
        """The folders of a mailbox."""
        name = address.lower()
        if name not in self._stores:
            self._stores[name] = Store()
        return self._stores[name]

    def check(self, name: object, subject: object, settings: Mapping[str, object]) -> tuple[Kind, str, Settings]:
        """What a fault would be. `FaultError` when there is no such fault, subject or setting."""
        kind = kind_named(name)
        if not isinstance(subject, str):
            raise FaultError(f"{kind.name}: subject: expected the name of a {kind.subject}, got {subject!r}")
        if kind.subject == "server":
            if subject not in kind.servers:
                raise FaultError(f"{kind.name}: subject: {subject!r} is none of {', '.join(kind.servers)}")
        elif (kind.subject, subject.lower()) not in self._names:
            raise FaultError(f"{kind.name}: subject: there is no {kind.subject} {subject!r}")
        read = read_settings(kind, subject, settings)
        if isinstance(read, SmtpReply) and read.mailbox is not None and self.mailbox(read.mailbox) is None:
            raise FaultError(f"{kind.name}: mailbox: there is no mailbox {read.mailbox!r}")
        return kind, subject, read

    def inject(self, name: object, subject: object, settings: Mapping[str, object] | None = None) -> Fault:
        """Put a fault in force. `FaultError` as `check` says."""
        kind, found, read = self.check(name, subject, settings or {})
        fault = Fault(f"f{next(self._numbers)}", kind, found, read, self.now())
        self.faults[fault.id] = fault
        self._settle(fault)
        return fault

    def repair(self, fault_id: str) -> Fault:
        """Take a fault out of force. `KeyError` when it is not in force."""
        fault = self.faults.pop(fault_id)
        self._settle(fault)
        return fault

    def reset(self) -> None:
        """Repair everything and forget what happened; open sessions go on being counted as open."""
        for fault_id in list(self.faults):
            self.repair(fault_id)
        self.submissions.clear()
        for store in self._stores.values():
            store.clear()
        for address, traffic in self.traffic.items():
            self.traffic[address] = Traffic(open=traffic.open, most_open=traffic.open, logged_on=traffic.logged_on)

    def wire_fault(self, server: str, phase: str, mailbox: str | None = None) -> Fault | None:
        """The latest fault that a server has to show in a phase, to this mailbox where it is for one alone."""
        for fault in reversed(self._wire):
            settings = fault.settings
            if fault.subject != server or not isinstance(settings, AtPhase) or settings.phase != phase:
                continue
            chosen = settings.mailbox if isinstance(settings, SmtpReply) else None
            if chosen is None or (mailbox is not None and chosen.lower() == mailbox.lower()):
                return fault
        return None

    def has_wire_fault(self, server: str, name: str) -> bool:
        """Whether a server has the fault of that name."""
        return any(fault.subject == server and fault.kind.name == name for fault in self._wire)

    def wire_setting(self, server: str, of: type[S]) -> S | None:
        """The settings of the latest fault of that sort."""
        return next((fault.settings for fault in self._with(server, of) if isinstance(fault.settings, of)), None)

    def other_certificate(self, server: str) -> Fault | None:
        """The latest fault by which a server shows another certificate than its own."""
        return next(self._with(server, OtherCertificate), None)

    def _with(self, server: str, of: type[Settings]) -> Iterator[Fault]:
        return (one for one in reversed(self._wire) if one.subject == server and isinstance(one.settings, of))

    def uuid(self) -> str:
        """A random id (trace, correlation, token)."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def describe(self) -> dict[str, Any]:
        """The world as plain JSON; secrets and keys stay out."""
        return {
            "now": self.now().isoformat(),
            "tenants": [
                {"id": one.id, "domain": one.domain, "smtp_auth_disabled": one.smtp_auth_disabled}
                for one in self.records("tenant")
                if isinstance(one, Tenant)
            ],
            "apps": [
                {"name": one.name, "client_id": one.client_id, "tenant": one.tenant, "roles": list(one.roles)}
                for one in self.records("app")
                if isinstance(one, App)
            ],
            "mailboxes": [
                {
                    "address": one.address,
                    "tenant": one.tenant,
                    "traffic": self.traffic.get(one.address.lower(), Traffic()).describe(),
                }
                for one in self.records("mailbox")
                if isinstance(one, Mailbox)
            ],
            "faults": [fault.describe() for fault in self.faults.values()],
        }

    def _find(self, sort: str, name: str) -> Record | None:
        key = self._names.get((sort, name.lower()))
        return None if key is None else self._current[key]

    def _settle(self, fault: Fault) -> None:
        if fault.kind.subject == "server":
            self._wire = [one for one in self.faults.values() if one.kind.subject == "server"]
        else:
            self._fold(self._names[fault.kind.subject, fault.subject.lower()])

    def _fold(self, key: tuple[str, str]) -> None:
        record = self._declared[key]
        for fault in self.faults.values():
            change = fault.kind.change
            if change is not None and self._names.get((fault.kind.subject, fault.subject.lower())) == key:
                record = change(record, fault.settings, fault.since)
        self._current[key] = record


def _names_of(record: Record) -> list[tuple[str, str]]:
    """What a record can be found by; the first is its id."""
    match record:
        case Tenant():
            return [("tenant", record.id.lower()), ("tenant", record.domain.lower())]
        case App():
            return [("app", record.client_id.lower()), ("app", record.name.lower())]
        case Mailbox():
            return [("mailbox", record.address.lower())]
