"""The world that is there when none is declared: one tenant, two apps, a few mailboxes or a thousand."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.sim.certificates import ClientCertificate, make_client_certificate
from monitor.sim.records import App, Mailbox, Secret, Tenant

TENANT_ID = "11111111-2222-4333-8444-555555555555"
DOMAIN = "contoso.example"
BILLING_ID = "3fd2b7a9-0000-4000-8000-000000000001"
HR_ID = "3fd2b7a9-0000-4000-8000-000000000002"
BILLING_SECRET = "sim8Q~billing-mailer.Contoso_2024"  # noqa: S105  a sham; real ones nearly always hold a tilde too

_NAMED = ("billing", "payslips", "noreply", "canary")


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a world is made of, and the private half of the client certificates in it, by app name."""

    tenants: tuple[Tenant, ...]
    apps: tuple[App, ...]
    mailboxes: tuple[Mailbox, ...]
    client_certificates: dict[str, ClientCertificate]


def contoso(*, more_mailboxes: int = 0, hr_certificate: ClientCertificate | None = None) -> Declaration:
    """The tenant contoso.example: billing-mailer with a secret, hr-portal with a certificate, four mailboxes.

    `more_mailboxes` adds `box0001@contoso.example` and so on. Give `hr_certificate` to save making one.
    """
    certificate = hr_certificate or make_client_certificate("hr-portal")
    more = (f"box{number:04d}" for number in range(1, more_mailboxes + 1))
    billing = App(
        name="billing-mailer",
        client_id=BILLING_ID,
        tenant=TENANT_ID,
        object_id="b1111111-0000-4000-8000-000000000001",
        secrets=(Secret(BILLING_SECRET),),
    )
    hr = App(
        name="hr-portal",
        client_id=HR_ID,
        tenant=TENANT_ID,
        object_id="b1111111-0000-4000-8000-000000000002",
        certificates=(certificate.registered,),
    )
    return Declaration(
        tenants=(Tenant(TENANT_ID, DOMAIN),),
        apps=(billing, hr),
        mailboxes=tuple(Mailbox(f"{name}@{DOMAIN}", TENANT_ID) for name in (*_NAMED, *more)),
        client_certificates={hr.name: certificate},
    )
