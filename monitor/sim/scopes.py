"""What a token is asked for: scopes, and the one resource that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.sim.refusals import refused

if TYPE_CHECKING:
    from monitor.sim.records import App, Tenant

RESOURCES = ("https://outlook.office365.com", "https://outlook.office.com", "https://graph.microsoft.com")

_ABOUT_THE_USER = frozenset({"openid", "profile", "email", "offline_access"})


def app_resource(scope: str, tenant: Tenant) -> str:
    """The resource that an app-only token is asked for."""
    scopes = _listed(scope)
    if any(not one.endswith("/.default") for one in scopes):
        raise refused(1002012, scope=scope)
    return known_resource(scope, {one.removesuffix("/.default").rstrip("/") for one in scopes}, tenant)


def delegated(scope: str, app: App, tenant: Tenant) -> tuple[str, tuple[str, ...]]:
    """Resource and names of the permissions that a user's token is asked for; each must be one with consent."""
    scopes = [one for one in _listed(scope) if one not in _ABOUT_THE_USER]
    resource = known_resource(scope, {one.rpartition("/")[0] for one in scopes}, tenant)
    names = tuple(one.rpartition("/")[2] for one in scopes)
    if not set(names) <= set(app.scopes):
        raise refused(65001, client_id=app.client_id, name=app.name)
    return resource, names


def known_resource(scope: str, resources: set[str], tenant: Tenant) -> str:
    """The one resource of the scopes, if there is such a one."""
    if len(resources) > 1:
        raise refused(28000, scope=scope)
    resource = resources.pop() if resources else ""
    if resource not in RESOURCES:
        raise refused(500011, resource=resource, tenant=tenant.domain)
    return resource


def _listed(scope: str) -> list[str]:
    if not scope:
        raise refused(900144, parameter="scope")
    return scope.split()
