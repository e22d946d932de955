"""The mailboxes of a configuration, from the file itself and from its fleets, with what groups say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from checks.core.cloud import Endpoint
from checks.core.secret import Address
from checks.core.target import Credential, Mailbox
from monitor.config import model
from monitor.config.configuration import Configured
from monitor.config.context import Context
from monitor.config.fleet import Fleets
from monitor.config.places import Path as KeyPath
from monitor.config.planning import Planning
from monitor.model import Importance

_NO_GROUP = model.Group()


class Mailboxes:
    """Makes them one after another."""

    def __init__(
        self, file: model.File, credentials: Mapping[str, Credential], planning: Planning, context: Context
    ) -> None:
        self._file = file
        self._credentials = credentials
        self._planning = planning
        self._context = context

    def all(self) -> Iterator[Configured]:
        """Those that are good; what is wrong with the others is in the context then."""
        for name, said in self._file.mailboxes.items():
            if (made := self._make(name, said, ("mailboxes", name))) is not None:
                yield made
        fleets = Fleets(self._context.names.get("mailboxes", ()), self._make, self._context)
        for number, fleet in enumerate(self._file.mailboxes_from):
            yield from fleets.read(fleet, ("mailboxes_from", number))

    def _make(self, name: str, said: model.Mailbox, where: KeyPath) -> Configured | None:
        """A mailbox with its plans; None when something was wrong with it, or with what it refers to."""
        group = self._group(said, where)
        importance = said.importance or group.importance or Importance.NORMAL
        plans = self._planning.of_mailbox(said, (*where, "checks"), importance)
        known = self._context.names.get("apps", ())
        credential = self._context.named(self._credentials, said.app, (*where, "app"), "app", known)
        endpoint = self._endpoint(said.smtp, credential, where) if credential is not None else None
        if credential is None or endpoint is None:
            return None
        return Configured(
            target=Mailbox(id=name, address=Address(said.address), credential=credential, endpoint=endpoint),
            checks=plans,
            importance=importance,
            labels={**group.labels, **said.labels} if said.labels else group.labels,
        )

    def _group(self, said: model.Mailbox, where: KeyPath) -> model.Group:
        if not said.group:
            return _NO_GROUP
        known = self._context.names.get("groups", ())
        return self._context.named(self._file.groups, said.group, (*where, "group"), "group", known) or _NO_GROUP

    def _endpoint(self, name: str, credential: Credential, where: KeyPath) -> Endpoint | None:
        """Where it sends: its cloud's SMTP server, or the alternative to it that it names."""
        cloud = credential.cloud
        if not name:
            return cloud.smtp
        return self._context.named(
            dict(cloud.alternatives), name, (*where, "smtp"), f"alternative SMTP endpoint of cloud {cloud.name}"
        )
