"""The world that is there when none is declared: one tenant, six apps, a few mailboxes or a thousand, a partner."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.sim.certificates import ClientCertificate, make_client_certificate
from monitor.sim.records import IMAP_ROLE, POP_ROLE, App, FederatedCredential, Mailbox, OnHost, Secret, Tenant

TENANT_ID = "11111111-2222-4333-8444-555555555555"
DOMAIN = "contoso.example"
BILLING_ID = "3fd2b7a9-0000-4000-8000-000000000001"
HR_ID = "3fd2b7a9-0000-4000-8000-000000000002"
READER_ID = "3fd2b7a9-0000-4000-8000-000000000003"
CLUSTER_ID = "3fd2b7a9-0000-4000-8000-000000000004"
HOST_ID = "3fd2b7a9-0000-4000-8000-000000000005"
DESK_ID = "3fd2b7a9-0000-4000-8000-000000000006"
BILLING_SECRET = "sim8Q~billing-mailer.Contoso_2024"  # noqa: S105  a sham; real ones nearly always hold a tilde too
READER_SECRET = "sim8Q~mailcanary-reader.Contoso_2024"  # noqa: S105  likewise

# The cluster whose tokens cluster-mailer shows, and who it is there.
CLUSTER = "https://oidc.contoso.example"
CLUSTER_SUBJECT = "system:serviceaccount:mail:cluster-mailer"
DESK_SCOPES = ("SMTP.Send", "IMAP.AccessAsUser.All", "POP.AccessAsUser.All")

PARTNER_INBOX = "inbox@partner.example"  # at another provider, which takes passwords
PARTNER_PASSWORD = "sim-partner-inbox"  # noqa: S105  likewise

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

    A third app, mailcanary-reader, may read by IMAP and POP: canary@contoso.example is meant to be the inbox for canaries.
    cluster-mailer shows a token of a Kubernetes cluster, host-mailer is the managed identity of the host, and desk-mailer
    is a public client to which users consent. One more mailbox is outside, at partner.example.

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
    reader = App(
        name="mailcanary-reader",
        client_id=READER_ID,
        tenant=TENANT_ID,
        object_id="b1111111-0000-4000-8000-000000000003",
        secrets=(Secret(READER_SECRET),),
        roles=(IMAP_ROLE, POP_ROLE),
    )
    cluster = App(
        name="cluster-mailer",
        client_id=CLUSTER_ID,
        tenant=TENANT_ID,
        object_id="b1111111-0000-4000-8000-000000000004",
        federated=(FederatedCredential(CLUSTER, CLUSTER_SUBJECT),),
    )
    host = App(
        name="host-mailer",
        client_id=HOST_ID,
        tenant=TENANT_ID,
        object_id="b1111111-0000-4000-8000-000000000005",
        on_host=OnHost.SYSTEM,
    )
    desk = App(
        name="desk-mailer",
        client_id=DESK_ID,
        tenant=TENANT_ID,
        object_id="b1111111-0000-4000-8000-000000000006",
        roles=(),
        public_client=True,
        scopes=DESK_SCOPES,
    )
    mailboxes = (Mailbox(f"{name}@{DOMAIN}", TENANT_ID) for name in (*_NAMED, *more))
    return Declaration(
        tenants=(Tenant(TENANT_ID, DOMAIN),),
        apps=(billing, hr, reader, cluster, host, desk),
        mailboxes=(*mailboxes, Mailbox(PARTNER_INBOX, tenant="", password=PARTNER_PASSWORD)),
        client_certificates={hr.name: certificate},
    )
