"""The targets that a configuration asks for: credentials, mailboxes, inboxes, and the ways to their endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from checks.core.model import Protocol
from checks.core.secret import Address
from checks.core.target import App, Cloud, Credential, Endpoint, Family, Inbox, Mailbox, Owner, Route, Tenant
from monitor.config import model
from monitor.config.clouds import endpoint_of
from monitor.config.context import Context
from monitor.config.credentials import material_of


def tenants_of(file: model.File, clouds: Mapping[str, Cloud], context: Context) -> dict[str, Tenant]:
    """The tenants by name."""
    known = context.names.get("clouds", ())
    return {
        name: Tenant(name=name, tenant_id=tenant.tenant_id, cloud=cloud)
        for name, tenant in file.tenants.items()
        if (cloud := context.named(clouds, tenant.cloud, ("tenants", name, "cloud"), "cloud", known)) is not None
    }


def credentials_of(file: model.File, tenants: Mapping[str, Tenant], context: Context) -> dict[str, Credential]:
    """The credentials in use, by the name of their app."""
    credentials: dict[str, Credential] = {}
    known = context.names.get("tenants", ())
    for name, app in file.apps.items():
        tenant = context.named(tenants, app.tenant, ("apps", name, "tenant"), "tenant", known)
        material = material_of(app.credential, ("apps", name, "credential"), context)
        if tenant is not None and material is not None:
            owner = Owner(team=app.owner.team, contact=app.owner.contact)
            registered = App(id=name, tenant=tenant, client_id=app.client_id, owner=owner)
            credentials[name] = Credential(app=registered, material=material, expires=app.credential.expires)
    return credentials


def mailbox_of(
    name: str, said: model.Mailbox, credentials: Mapping[str, Credential], context: Context
) -> Mailbox | None:
    """A mailbox; None when its app could not be made or its endpoint is not known."""
    where = ("mailboxes", name)
    credential = context.named(credentials, said.app, (*where, "app"), "app", context.names.get("apps", ()))
    if credential is None:
        return None
    endpoint: Endpoint | None = credential.cloud.smtp
    if said.smtp:
        endpoint = context.named(
            dict(credential.cloud.alternatives),
            said.smtp,
            (*where, "smtp"),
            f"endpoint of cloud {credential.cloud.name}",
        )
    if endpoint is None:
        return None
    return Mailbox(id=name, address=Address(said.address), credential=credential, endpoint=endpoint)


def inbox_of(name: str, said: model.Inbox, credentials: Mapping[str, Credential], context: Context) -> Inbox | None:
    """An inbox; one with neither app nor password is only written to."""
    where = ("inboxes", name)
    if said.app is not None and said.password is not None:
        context.say(where, "expected app or password, not both")
        return None
    password = context.secret(said.password, (*where, "password"))
    credential = None
    if said.app is not None:
        credential = context.named(credentials, said.app, (*where, "app"), "app", context.names.get("apps", ()))
        if credential is None:
            return None
    endpoint = credential.cloud.imap if credential else None
    if said.imap is not None:
        endpoint = endpoint_of(said.imap, (*where, "imap"), context, credential.cloud.ca_file if credential else None)
    if endpoint is None and (credential or said.password is not None):
        context.say((*where, "imap"), "expected its IMAP server, such as {host: imap.partner.example}")
        return None
    nowhere = Endpoint(host="", port=0)
    return Inbox(
        id=name,
        address=Address(said.address),
        endpoint=endpoint or nowhere,
        credential=credential,
        password=password,
    )


def routes_of(
    file: model.File,
    mailboxes: Iterable[Mailbox],
    inboxes: Iterable[Inbox],
    families: Iterable[Family],
    context: Context,
) -> Iterator[Route]:
    """Every way to an endpoint that a target uses or the file names, once."""
    used: dict[tuple[Protocol, Endpoint], None] = {}
    for mailbox in mailboxes:
        used[Protocol.SMTP, mailbox.endpoint] = None
    for inbox in inboxes:
        used[Protocol.IMAP, inbox.endpoint] = None
    for protocol, endpoint in used:
        for family in families:
            yield Route(protocol=protocol, endpoint=endpoint, family=family)
    for name, said in file.endpoints.items():
        endpoint = endpoint_of(said, ("endpoints", name), context)
        for family in families if said.ip is None else (Family.ANY,):
            yield Route(protocol=Protocol(said.protocol), endpoint=endpoint, family=family, ip=said.ip or "")
