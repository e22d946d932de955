"""What a notice may name of the thing it is about: found in the plan by the incident's subject."""

from __future__ import annotations

from collections.abc import Mapping

from checks.core.model import Scope, Subject
from checks.core.target import Inbox, Mailbox, words_of
from monitor.model import Incident
from monitor.plan import Plan, Watch


class Words:
    """The words for an incident: those of a target at or below its subject. `addresses`: they may show in notices."""

    def __init__(self, plan: Plan, *, addresses: bool) -> None:
        self._plan = plan
        self._addresses = addresses
        self._below: dict[Subject, Watch] = {}
        for watch in plan.watches.values():
            self._below.setdefault(Subject(Scope.ENDPOINT, watch.target.connects_to), watch)
            for scope, key in watch.target.chain.items():
                self._below.setdefault(Subject(scope, key), watch)

    def of(self, incident: Incident) -> Mapping[str, str]:
        """What fills the steps; the address only where the incident is about one mailbox or inbox. Empty for what is gone."""
        watches = (self._plan.watches.get(name) for name in sorted(incident.watches)[:1])
        watch = self._below.get(incident.subject) or next(watches, None)
        if watch is None:
            return {}
        target = watch.target
        words = dict(words_of(target, incident.finding.evidence))
        about = Subject(target.own_scope, target.id)
        if self._addresses and isinstance(target, Mailbox | Inbox) and incident.subject == about:
            words["address"] = target.address.reveal()
        return words
