"""A lab: the embedded Microsoft 365, the checks' targets in it, and one way to run a check."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from checks.core.cloud import Cloud, Endpoint, Family, TlsMode
from checks.core.material import ClientCertificate, ClientSecret
from checks.core.model import Protocol
from checks.core.run import run_check
from checks.core.secret import Address, Secret
from checks.core.target import App, Credential, Inbox, Mailbox, Route, Tenant
from checks.registry import CHECKS
from monitor.sim.contoso import (
    BILLING_ID,
    BILLING_SECRET,
    HR_ID,
    PARTNER_INBOX,
    PARTNER_PASSWORD,
    READER_ID,
    READER_SECRET,
    TENANT_ID,
)

if TYPE_CHECKING:
    from checks.core.kit import Kit
    from checks.core.material import Material
    from checks.core.model import Result
    from checks.core.settings import Settings
    from checks.core.target import Target
    from monitor.sim import Microsoft365

SECRETS = {"billing-mailer": (BILLING_ID, BILLING_SECRET), "mailcanary-reader": (READER_ID, READER_SECRET)}
SCOPE = "https://outlook.office365.com/.default"


def material_of(pem: str) -> ClientCertificate:
    """A certificate credential from a PEM text that holds key and certificate."""
    blocks = re.findall(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----\n?", pem, re.DOTALL)
    assert any("PRIVATE KEY" in block for block in blocks)
    certificate = re.search(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", pem, re.DOTALL)
    key = re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----\n?", pem, re.DOTALL)
    assert certificate is not None
    assert key is not None
    return ClientCertificate(key_pem=Secret(key.group()), certificate_pem=certificate.group())


def usual_settings(check: str) -> Settings:
    """A check's settings where nothing is said, but for canaries: they are taken out at once."""
    return CHECKS[check].settings(**({"keep_seconds": 0} if check == "inbox" else {}))


@dataclass(frozen=True)
class Lab:
    """What a test needs to run checks against the simulator."""

    office: Microsoft365
    kit: Kit

    @property
    def endpoint(self) -> Endpoint:
        """The SMTP endpoint."""
        return Endpoint(host="localhost", port=self.office.smtp_port, ca_file=str(self.office.ca_file))

    def reading(self, port: int) -> Endpoint:
        """An endpoint with TLS from the first byte: IMAP, POP, the partner's IMAP."""
        return Endpoint(host="localhost", port=port, tls=TlsMode.IMPLICIT, ca_file=str(self.office.ca_file))

    def credential(self, app: str = "billing-mailer", material: Material | None = None) -> Credential:
        """The credential of an app that has a secret, or of hr-portal with its certificate."""
        cloud = Cloud(
            name="lab",
            authority=self.office.authority_url,
            scope=SCOPE,
            smtp=self.endpoint,
            imap=self.reading(self.office.imap_port),
            pop=self.reading(self.office.pop_port),
            ca_file=str(self.office.ca_file),
        )
        tenant = Tenant(name="contoso", tenant_id=TENANT_ID, cloud=cloud)
        if app in SECRETS:
            client_id, secret = SECRETS[app]
            return Credential(
                app=App(id=app, tenant=tenant, client_id=client_id),
                material=material or ClientSecret(Secret(secret)),
            )
        pem = (self.office.directory / "hr-portal.pem").read_text()
        return Credential(app=App(id=app, tenant=tenant, client_id=HR_ID), material=material or material_of(pem))

    def mailbox(self, name: str = "billing", app: str = "billing-mailer") -> Mailbox:
        """A mailbox of contoso that an app sends as, or reads."""
        return Mailbox(
            id=name,
            address=Address(f"{name}@contoso.example"),
            credential=self.credential(app),
            endpoint=self.endpoint,
        )

    def inbox(self, name: str = "canary") -> Inbox:
        """The inbox of a mailbox of contoso, which mailcanary-reader reads."""
        return Inbox(
            id=name,
            address=Address(f"{name}@contoso.example"),
            endpoint=self.reading(self.office.imap_port),
            credential=self.credential("mailcanary-reader"),
        )

    def partner_inbox(self, password: str = PARTNER_PASSWORD) -> Inbox:
        """The inbox at another provider, which is read with a password."""
        return Inbox(
            id="partner",
            address=Address(PARTNER_INBOX),
            endpoint=self.reading(self.office.partner_imap_port),
            password=Secret(password),
        )

    def route(self) -> Route:
        """The way to the SMTP endpoint."""
        return Route(protocol=Protocol.SMTP, endpoint=self.endpoint, family=Family.IPV4)

    async def run(
        self, check: str, target: Target | None = None, *, seconds: float = 10.0, settings: Settings | None = None
    ) -> Result:
        """Run a check once, against something it passes at unless told otherwise: billing-mailer and what is its own.

        Mailboxes are read by mailcanary-reader.
        """
        found = CHECKS[check]
        usual = {
            "credential": self.credential,
            "mailbox": self.mailbox,
            "route": self.route,
            "inbox": self.inbox,
            "imap_auth": partial(self.mailbox, "canary", "mailcanary-reader"),
            "pop_auth": partial(self.mailbox, "canary", "mailcanary-reader"),
        }
        aim = target or usual[check if check in usual else found.target]()
        chosen = settings or usual_settings(check)
        return await run_check(found, aim, chosen, self.kit, watch=f"{check}/lab", seconds=seconds)
