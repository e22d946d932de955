"""From the validated file to domain objects: references resolved, names joined, every problem kept with its path."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from checks.core.check import Check
from checks.core.secret import Address, Secret
from checks.core.target import (
    App,
    ClientCertificate,
    ClientSecret,
    Cloud,
    Credential,
    Endpoint,
    Mailbox,
    Material,
    Owner,
    Tenant,
)
from monitor.config import model
from monitor.config.certificates import read_certificate
from monitor.config.configuration import CheckPlan, Configuration, ConfiguredMailbox
from monitor.config.places import Path as KeyPath
from monitor.config.references import resolve
from monitor.config.wording import explained, listed
from monitor.model import Channel, Policy

# The public cloud. Sources: "National clouds" (authority), "Authenticate an IMAP, POP or SMTP connection using OAuth"
# (scope), "POP, IMAP and SMTP settings" (host and port).
PUBLIC = model.Cloud()
MAX_PORT = 65535
_Part = TypeVar("_Part", bound=BaseModel)
# RFC 5321, section 4.1.1.1: a domain or an address literal, and nothing that could end the line.
_EHLO_NAME = re.compile(r"[A-Za-z0-9._-]*|\[[A-Za-z0-9.:]+\]").fullmatch


class Builder:
    """Builds once; afterwards `problems` holds what was wrong, and the result is of use only if that is empty.

    `channels` are those that could be built, whatever is wrong elsewhere.
    """

    def __init__(
        self,
        file: model.File,
        names: Mapping[str, Collection[str]],
        base: Path,
        checks: Mapping[str, Check],
        *,
        resolve_secrets: bool,
    ) -> None:
        """`names` are those that each section of the file has, those of wrong parts among them."""
        self._file = file
        self._names = names
        self._base = base
        self._checks = checks
        self._resolve_secrets = resolve_secrets
        self.problems: list[tuple[KeyPath, str]] = []
        self.channels: list[Channel] = []
        self._bad_defaults: set[str] = set()

    def build(self) -> Configuration | None:
        """The configuration, or None when nothing sensible can be made of it."""
        file = self._file
        clouds = {name: self._cloud(name, cloud) for name, cloud in {"public": PUBLIC, **file.clouds}.items()}
        known_clouds = ("public", *self._names.get("clouds", ()))
        tenants = {
            name: Tenant(name=name, tenant_id=tenant.tenant_id, cloud=cloud)
            for name, tenant in file.tenants.items()
            if (cloud := self._named(clouds, tenant.cloud, ("tenants", name, "cloud"), "cloud", known_clouds))
            is not None
        }
        credentials: dict[str, Credential] = {}
        for name, app in file.apps.items():
            tenant = self._named(
                tenants, app.tenant, ("apps", name, "tenant"), "tenant", self._names.get("tenants", ())
            )
            material = self._material(app.credential, ("apps", name, "credential"))
            if tenant is not None and material is not None:
                owner = Owner(team=app.owner.team, contact=app.owner.contact)
                registered = App(id=name, tenant=tenant, client_id=app.client_id, owner=owner)
                credentials[name] = Credential(app=registered, material=material, expires=app.credential.expires)
        self._read_defaults()
        mailboxes = [
            built
            for name, mailbox in file.mailboxes.items()
            if (built := self._mailbox(name, mailbox, credentials)) is not None
        ]
        planned = self._plan(self._checks["token"], {}, ("defaults", "checks", "token"))
        self.channels = [
            Channel(name=name, url=url)
            for name, channel in file.alerts.channels.items()
            if (url := self._secret(channel.url, ("alerts", "channels", name, "url"))) is not None
        ]
        host, _, port = file.web.listen.rpartition(":")
        if int(port) > MAX_PORT:
            self.problems.append((("web", "listen"), f"there is no port {port}: the highest is {MAX_PORT}"))
        if not _EHLO_NAME(file.network.ehlo_name):
            self.problems.append((("network", "ehlo_name"), "expected the name of this host, or [IP ADDRESS]"))
        if self.problems:
            return None
        policy = file.alerts.policy
        return Configuration(
            apps={name: credential.app for name, credential in credentials.items()},
            credentials={credential.id: credential for credential in credentials.values()},
            token_checks={credential.id: planned for credential in credentials.values()} if planned else {},
            mailboxes=tuple(mailboxes),
            channels=tuple(self.channels),
            policy=Policy(
                fail_after=policy.fail_after, recover_after=policy.recover_after, remind_every=policy.remind_every
            ),
            store_url=self._store_url(file.store),
            listen=(host.strip("[]"), int(port)),
            show_addresses=frozenset(file.privacy.addresses),
            retention=file.privacy.retention,
            ehlo_name=file.network.ehlo_name,
        )

    def _named(self, things: Mapping[str, Any], name: str, where: KeyPath, what: str, known: Collection[str]) -> Any:
        """The thing of that name; silent when it is known but could not be made, which has been said elsewhere."""
        if name not in known:
            self.problems.append((where, f"there is no {what} {name!r}; known: {listed(known)}"))
        return things.get(name)

    def _cloud(self, name: str, cloud: model.Cloud) -> Cloud:
        ca_file = self._ca_file(cloud.ca_file, ("clouds", name, "ca_file"))
        own = self._ca_file(cloud.smtp.ca_file, ("clouds", name, "smtp", "ca_file"))
        return Cloud(
            name=name,
            authority=cloud.authority.rstrip("/"),
            scope=cloud.scope,
            smtp=Endpoint(host=cloud.smtp.host, port=cloud.smtp.port, tls=cloud.smtp.tls, ca_file=own or ca_file),
            ca_file=ca_file,
        )

    def _ca_file(self, name: str | None, where: KeyPath) -> str | None:
        if name is None:
            return None
        path = self._base / name
        if not path.is_file():
            self.problems.append((where, f"there is no file {path}"))
        return str(path)

    def _store_url(self, url: str) -> str:
        """As SQLAlchemy wants it: three slashes and a path. Ours reads like any other URL: three slashes are the root."""
        path = url.removeprefix("sqlite:")
        return f"sqlite:///{self._base / path if not path.startswith('///') else '/' + path.lstrip('/')}"

    def _secret(self, reference: str, where: KeyPath) -> Secret | None:
        if not self._resolve_secrets:
            return Secret("not resolved")
        try:
            return resolve(reference, self._base)
        except ValueError as error:
            self.problems.append((where, str(error)))
            return None

    def _material(self, credential: model.Credential, where: KeyPath) -> Material | None:
        if (credential.secret is None) == (credential.certificate is None):
            self.problems.append((where, "expected exactly one of: secret, certificate"))
            return None
        if credential.secret is not None:
            secret = self._secret(credential.secret, (*where, "secret"))
            return ClientSecret(secret) if secret else None
        return self._certificate(credential.certificate, (*where, "certificate"))

    def _certificate(self, certificate: model.Certificate | None, where: KeyPath) -> ClientCertificate | None:
        if certificate is None or not self._resolve_secrets:
            return ClientCertificate(key_pem=Secret("not resolved"), certificate_pem="")
        passphrase = None
        if certificate.passphrase is not None:
            passphrase = self._secret(certificate.passphrase, (*where, "passphrase"))
            if passphrase is None:
                return None
        try:
            return read_certificate(self._base / certificate.file, passphrase)
        except ValueError as error:
            self.problems.append(((*where, "file"), str(error)))
            return None

    def _mailbox(
        self, name: str, mailbox: model.Mailbox, credentials: Mapping[str, Credential]
    ) -> ConfiguredMailbox | None:
        where: KeyPath = ("mailboxes", name)
        credential = self._named(credentials, mailbox.app, (*where, "app"), "app", self._names.get("apps", ()))
        self._check_names(mailbox.checks, (*where, "checks"))
        plans: dict[str, CheckPlan] = {}
        for check in self._checks.values():
            said = mailbox.checks.get(check.name, {} if check.always else False)
            if check.target == "mailbox" and said is not False:
                plan = self._plan(check, said, (*where, "checks", check.name))
                if plan is not None:
                    plans[check.name] = plan
        if credential is None:
            return None
        return ConfiguredMailbox(
            mailbox=Mailbox(
                id=name, address=Address(mailbox.address), credential=credential, endpoint=credential.cloud.smtp
            ),
            importance=mailbox.importance,
            labels=mailbox.labels,
            checks=plans,
        )

    def _check_names(self, named: Mapping[str, object], where: KeyPath) -> None:
        for name in named:
            check = self._named(self._checks, name, (*where, name), "check", self._checks)
            if check is not None and check.target != "mailbox" and where[0] == "mailboxes":
                message = f"this check is aimed at a {check.target}, not at a mailbox: it is set in defaults.checks"
                self.problems.append(((*where, name), message))

    def _read_defaults(self) -> None:
        """Each by itself first, so that a mistake is told once and in its place, not at every mailbox."""
        where: KeyPath = ("defaults", "checks")
        self._check_names(self._file.defaults.checks, where)
        for name in self._file.defaults.checks.keys() & self._checks.keys():
            before = len(self.problems)
            self._plan(self._checks[name], {}, (*where, name))
            if len(self.problems) > before:
                self._bad_defaults.add(name)

    def _plan(self, check: Check, said: Mapping[str, Any], where: KeyPath) -> CheckPlan | None:
        """A check's times and settings: the target's own, else the defaults', else the check's."""
        if check.name in self._bad_defaults:
            return None
        merged = {**self._file.defaults.checks.get(check.name, {}), **said}
        rest = {key: value for key, value in merged.items() if key not in model.CheckTimes.model_fields}
        if "to" in rest and isinstance(rest["to"], list):
            rest["to"] = tuple(address for name in rest["to"] if (address := self._inbox(name, where)) is not None)
        times = self._read(model.CheckTimes, merged, check, where)
        settings = self._read(check.settings, rest, check, where)
        if times is None or settings is None:
            return None
        interval = times.interval or check.interval
        timeout = times.timeout or min(check.timeout, interval)
        if timeout > interval:
            self.problems.append(((*where, "timeout"), f"{timeout:g} s is longer than the interval of {interval:g} s"))
        return CheckPlan(interval=interval, timeout=timeout, settings=settings)

    def _read(self, part: type[_Part], said: Mapping[str, Any], check: Check, where: KeyPath) -> _Part | None:
        """What is said of a check, as one of the two models that it has to fit."""
        try:
            return part.model_validate(said)
        except ValidationError as error:
            known = ", ".join([*model.CheckTimes.model_fields, *check.settings.model_fields])
            for there, message in explained(error, check.settings):
                unknown = message.startswith("unknown key")
                self.problems.append(((*where, *there), f"unknown key; known here: {known}" if unknown else message))
            return None

    def _inbox(self, name: object, where: KeyPath) -> Address | None:
        known = self._names.get("inboxes", ())
        if "@" in str(name):  # not repeated: it is an address
            message = f"expected the name of an inbox, not an address; known: {listed(known)}"
            self.problems.append(((*where, "to"), message))
            return None
        inbox = self._named(self._file.inboxes, str(name), (*where, "to"), "inbox", known)
        return Address(inbox.address) if inbox is not None else None
