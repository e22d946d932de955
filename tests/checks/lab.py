"""A lab: the embedded Microsoft 365, the checks' targets in it, and one way to run a check."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks.core.material import ClientCertificate, ClientSecret
from checks.core.run import run_check
from checks.core.secret import Address, Secret
from checks.core.target import App, Cloud, Credential, Endpoint, Mailbox, Tenant
from checks.registry import CHECKS
from monitor.sim.contoso import BILLING_ID, BILLING_SECRET, HR_ID, TENANT_ID

if TYPE_CHECKING:
    from checks.core.kit import Kit
    from checks.core.material import Material
    from checks.core.model import Result
    from checks.core.target import Target
    from monitor.sim import Microsoft365

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


@dataclass(frozen=True)
class Lab:
    """What a test needs to run checks against the simulator."""

    office: Microsoft365
    kit: Kit

    @property
    def endpoint(self) -> Endpoint:
        """The SMTP endpoint."""
        return Endpoint(host="localhost", port=self.office.smtp_port, ca_file=str(self.office.ca_file))

    def credential(self, app: str = "billing-mailer", material: Material | None = None) -> Credential:
        """The credential of one of the two apps."""
        cloud = Cloud(
            name="lab",
            authority=self.office.authority_url,
            scope=SCOPE,
            smtp=self.endpoint,
            ca_file=str(self.office.ca_file),
        )
        tenant = Tenant(name="contoso", tenant_id=TENANT_ID, cloud=cloud)
        if app == "billing-mailer":
            return Credential(
                app=App(id=app, tenant=tenant, client_id=BILLING_ID),
                material=material or ClientSecret(Secret(BILLING_SECRET)),
            )
        pem = (self.office.directory / "hr-portal.pem").read_text()
        return Credential(app=App(id=app, tenant=tenant, client_id=HR_ID), material=material or material_of(pem))

    def mailbox(self, name: str = "billing") -> Mailbox:
        """A mailbox of contoso that billing-mailer sends as."""
        return Mailbox(
            id=name,
            address=Address(f"{name}@contoso.example"),
            credential=self.credential(),
            endpoint=self.endpoint,
        )

    async def run(self, check: str, target: Target | None = None, *, seconds: float = 10.0) -> Result:
        """Run a check once, against billing-mailer or its mailbox billing unless told otherwise."""
        found = CHECKS[check]
        aim = target or (self.credential() if found.target == "credential" else self.mailbox())
        return await run_check(found, aim, found.settings(), self.kit, watch=f"{check}/lab", seconds=seconds)
