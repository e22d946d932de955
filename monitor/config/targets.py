"""The targets that a configuration asks for beside its mailboxes: credentials, inboxes, and the ways to endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from checks.core.cloud import Cloud, Endpoint, Family
from checks.core.model import Protocol
from checks.core.secret import Address
from checks.core.target import App, Credential, Inbox, Mailbox, Owner, Route, Tenant
from monitor.config import model
from monitor.config.clouds import endpoint_of
from monitor.config.configuration import Configured
from monitor.config.context import Context
from monitor.config.credentials import material_of

# An inbox that is only written to has no server of ours.
_NOWHERE = Endpoint(host="", port=0)


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


def inboxes_of(file: model.File, credentials: Mapping[str, Credential], context: Context) -> dict[str, Inbox]:
    """The inboxes by name."""
    return {
        name: inbox
        for name, said in file.inboxes.items()
        if (inbox := _inbox(name, said, credentials, context)) is not None
    }


def _inbox(name: str, said: model.Inbox, credentials: Mapping[str, Credential], context: Context) -> Inbox | None:
    """One inbox, read with an app or a password; with neither it is only written to."""
    where = ("inboxes", name)
    if said.app is not None and said.password is not None:
        context.say(where, "expected app or password, not both")
        return None
    credential = None
    if said.app is not None:
        known = context.names.get("apps", ())
        credential = context.named(credentials, said.app, (*where, "app"), "app", known)
        if credential is None:
            return None
    cloud = credential.cloud if credential else None
    endpoint = cloud.imap if cloud else None
    if said.imap is not None:
        endpoint = endpoint_of(said.imap, (*where, "imap"), context, cloud.ca_file if cloud else None)
    if endpoint is None and (said.app is not None or said.password is not None):
        context.say((*where, "imap"), "expected its IMAP server, such as {host: imap.partner.example}")
        return None
    return Inbox(
        id=name,
        address=Address(said.address),
        endpoint=endpoint or _NOWHERE,
        credential=credential,
        password=context.secret(said.password, (*where, "password")),
    )


def routes_of(file: model.File, configured: Iterable[Configured], context: Context) -> Iterable[Route]:
    """Every way to an endpoint that one of the targets uses or that the file names, each once.

    Where the file names one that is in use, it stays as those use it, with their CA.
    """
    wanted = file.network.family
    families = (Family.IPV4, Family.IPV6) if wanted is Family.ANY else (wanted,)
    used: dict[tuple[Protocol, Endpoint], bool] = {}
    for one in configured:  # a foreign server that takes a password need not offer XOAUTH2
        for way in _used_by(one):
            used[way] = used.get(way, False) or one.target.credential is not None
    by_token = {str(to) for (_, to), xoauth2 in used.items() if xoauth2}
    routes = []
    for name, said in file.endpoints.items():
        to, protocol = endpoint_of(said, ("endpoints", name), context), Protocol(said.protocol)
        xoauth2 = str(to) in by_token
        if said.ip is None:
            routes += [Route(protocol=protocol, endpoint=to, family=family, xoauth2=xoauth2) for family in families]
        else:
            routes.append(Route(protocol=protocol, endpoint=to, ip=said.ip, xoauth2=xoauth2))
    routes += [
        Route(protocol=protocol, endpoint=to, family=family, xoauth2=xoauth2)
        for (protocol, to), xoauth2 in used.items()
        for family in families
    ]
    return {route.id: route for route in routes}.values()


def _used_by(configured: Configured) -> Iterator[tuple[Protocol, Endpoint]]:
    """The endpoints that the checks of a target connect to."""
    target = configured.target
    if isinstance(target, Inbox):
        yield Protocol.IMAP, target.endpoint
    elif isinstance(target, Mailbox):
        yield Protocol.SMTP, target.endpoint
        if "imap_auth" in configured.checks and target.cloud.imap is not None:
            yield Protocol.IMAP, target.cloud.imap
        if "pop_auth" in configured.checks and target.cloud.pop is not None:
            yield Protocol.POP, target.cloud.pop
