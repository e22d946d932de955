"""From the validated file to domain objects: references resolved, names joined, every problem kept with its path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from checks.core.check import Check
from checks.core.target import Credential, Inbox
from monitor.config import model
from monitor.config.clouds import clouds_of
from monitor.config.configuration import Configuration, Configured, Network
from monitor.config.context import Context
from monitor.config.mailboxes import Mailboxes
from monitor.config.planning import Planning
from monitor.config.targets import credentials_of, inboxes_of, routes_of, tenants_of
from monitor.config.wording import duration
from monitor.model import Channel, Lateness, Policy

MAX_PORT = 65535
# RFC 5321, section 4.1.1.1: a domain or an address literal, and nothing that could end the line.
_EHLO_NAME = re.compile(r"[A-Za-z0-9._-]*|\[[A-Za-z0-9.:]+\]").fullmatch


class Builder:
    """Builds once; afterwards `context.problems` holds what was wrong, and the result is of use only if there is nothing.

    `channels` are those that could be built, whatever is wrong elsewhere.
    """

    def __init__(self, file: model.File, checks: Mapping[str, Check], context: Context) -> None:
        self._file = file
        self._checks = checks
        self._context = context
        self.channels: list[Channel] = []

    def build(self) -> Configuration | None:
        """The configuration, or None when nothing sensible can be made of it."""
        file, context = self._file, self._context
        tenants = tenants_of(file, clouds_of(file, context), context)
        credentials = credentials_of(file, tenants, context)
        inboxes = inboxes_of(file, credentials, context)
        planning = Planning(file, self._checks, inboxes, context)
        targets = tuple(self._targets(credentials, inboxes, planning))
        network = self._network()
        self.channels = [
            Channel(name=name, url=url, proxy=network.proxy)
            for name, channel in file.alerts.channels.items()
            if (url := context.secret(channel.url, ("alerts", "channels", name, "url"))) is not None
        ]
        host, port = self._listen()
        lateness = self._lateness()
        if context.problems or context.elsewhere:
            return None
        policy = file.alerts.policy
        return Configuration(
            apps={name: credential.app for name, credential in credentials.items()},
            targets=targets,
            usual=planning.usual("mailbox"),
            channels=tuple(self.channels),
            policy=Policy(
                fail_after=policy.fail_after, recover_after=policy.recover_after, remind_every=policy.remind_every
            ),
            store_url=self._store_url(file.store),
            listen=(host, port),
            show_addresses=frozenset(file.privacy.addresses),
            retention=file.privacy.retention,
            network=network,
            lateness=lateness,
            warnings=tuple(context.warnings),
        )

    def _targets(
        self, credentials: Mapping[str, Credential], inboxes: Mapping[str, Inbox], planning: Planning
    ) -> Iterator[Configured]:
        """Every target with the plans of its checks."""
        for credential in credentials.values():
            yield Configured(target=credential, checks=planning.of("credential"))
        users = [
            *Mailboxes(self._file, credentials, planning, self._context).all(),
            *(
                Configured(target=inbox, checks=planning.of("inbox"))
                for inbox in inboxes.values()
                if inbox.endpoint.port
            ),
        ]
        yield from users
        for route in routes_of(self._file, users, self._context):
            yield Configured(target=route, checks=planning.of("route"))

    def _listen(self) -> tuple[str, int]:
        host, _, port = self._file.web.listen.rpartition(":")
        if int(port) > MAX_PORT:
            self._context.say(("web", "listen"), f"there is no port {port}: the highest is {MAX_PORT}")
        return host.strip("[]"), int(port)

    def _network(self) -> Network:
        said = self._file.network
        if not _EHLO_NAME(said.ehlo_name):
            self._context.say(("network", "ehlo_name"), "expected the name of this host, or [IP ADDRESS]")
        return Network(
            ehlo_name=said.ehlo_name,
            proxy=self._context.secret(said.proxy, ("network", "proxy")),
            family=said.family,
            source_address=said.source_address,
            reach=tuple(said.reach),
        )

    def _lateness(self) -> Lateness:
        said = self._file.canaries
        if said.lost_after < said.late_after:
            times = f"{duration(said.lost_after)}) to be no less than late_after ({duration(said.late_after)})"
            self._context.say(("canaries",), f"expected lost_after ({times}")
        return Lateness(late_after=said.late_after, lost_after=said.lost_after)

    def _store_url(self, url: str) -> str:
        """As SQLAlchemy wants it: three slashes and a path. Ours reads like any other URL: three slashes are the root."""
        path = url.removeprefix("sqlite:")
        place = self._context.base / path if not path.startswith("///") else "/" + path.lstrip("/")
        return f"sqlite:///{place}"
