"""Who gets a token: Entra ID's decision on one request, without any HTTP.

Order of the questions: tenant, request, app, credential, policy, scope. Microsoft does not publish its own order; this
one lets each single mistake show the code that it shows in reality.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from monitor.sim.assertions import check_assertion
from monitor.sim.refusals import refused
from monitor.sim.scopes import app_resource, delegated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from monitor.sim.consents import Consent, Consents, DeviceCode
    from monitor.sim.federation import Issuer
    from monitor.sim.records import App, Tenant
    from monitor.sim.world import World

PUBLIC, SECRET, CERTIFICATE = "0", "1", "2"  # values of the claim appidacr; Microsoft, "Access token claims reference"

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"  # RFC 8628, 3.4

_NO_TENANT = ("common", "organizations", "consumers")


@dataclass(frozen=True, slots=True)
class Desk:
    """What decisions are made from: the world, what users have consented to, other issuers."""

    world: World
    consents: Consents
    issuers: tuple[Issuer, ...] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """A token may be issued: to whom, for what, and by which kind of credential; in a user's name with `consent`."""

    app: App
    audience: str
    credential: str
    consent: Consent | None = None


def find_tenant(world: World, name: str) -> Tenant:
    """The tenant in a URL's path."""
    if name.lower() in _NO_TENANT:
        raise refused(50059)
    tenant = world.tenant(name)
    if tenant is None:
        raise refused(90002, tenant=name)
    return tenant


def decide(desk: Desk, tenant_name: str, form: Mapping[str, str], basic: str | None, token_url: str) -> Grant:
    """The grant that a token request gets, or `Refused`.

    `form` is the request's body, `basic` its Authorization header if it has one, `token_url` what a client assertion
    must be meant for.
    """
    world = desk.world
    tenant = find_tenant(world, tenant_name)
    if tenant.throttled:
        raise refused(90055, tenant=tenant.domain)
    client_id, secret = _client(form, basic)
    for parameter, value in (("grant_type", form.get("grant_type")), ("client_id", client_id)):
        if not value:
            raise refused(900144, parameter=parameter)
    grant_type = form["grant_type"]
    if grant_type not in {"client_credentials", "refresh_token", DEVICE_CODE}:
        raise refused(70003, grant_type=grant_type)
    app = usable_app(world, tenant, client_id)
    by_user = grant_type != "client_credentials"
    if "client_assertion" in form:
        check_assertion(app, form, token_url, desk.issuers, world.now())
        credential = CERTIFICATE
    elif by_user and app.public_client and not secret:
        credential = PUBLIC
    else:
        _check_secret(app, secret, world.now())
        credential = SECRET
    if app.conditional_access_block:
        raise refused(53003)
    if not by_user:
        return Grant(app, app_resource(form.get("scope", ""), tenant), credential)
    consent = _consent(desk, tenant, app, form)
    return Grant(app, consent.resource, credential, consent)


def begin_sign_in(desk: Desk, tenant_name: str, form: Mapping[str, str]) -> tuple[str, DeviceCode]:
    """A device code and what is known of it, or `Refused`."""
    tenant = find_tenant(desk.world, tenant_name)
    if not form.get("client_id"):
        raise refused(900144, parameter="client_id")
    app = usable_app(desk.world, tenant, form["client_id"])
    return desk.consents.begin(app, *delegated(form.get("scope", ""), app, tenant))


def _consent(desk: Desk, tenant: Tenant, app: App, form: Mapping[str, str]) -> Consent:
    """What a user lets the app do, as a refresh token or a device code proves it."""
    if form["grant_type"] == DEVICE_CODE:
        consent = desk.consents.by_code(app, form.get("device_code", ""))
        if tenant.device_code_blocked:
            raise refused(53003)
        return consent
    if not form.get("refresh_token"):
        raise refused(900144, parameter="refresh_token")
    consent = desk.consents.by_token(app, form["refresh_token"])
    if tenant.device_code_blocked:
        raise refused(530036)
    resource, scopes = delegated(form.get("scope", ""), app, tenant)
    return replace(consent, resource=resource, scopes=scopes, given_at=desk.world.now())


def _client(form: Mapping[str, str], basic: str | None) -> tuple[str, str]:
    """Client id and secret, from the body or the Basic header, whose parts are form-encoded (RFC 6749, 2.3.1)."""
    if basic is None or not basic.lower().startswith("basic "):
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        user, _, password = base64.b64decode(basic[6:], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(user), unquote_plus(password)


def usable_app(world: World, tenant: Tenant, client_id: str) -> App:
    """The app of that client id, if it may ask for tokens at all."""
    app = world.app(tenant, client_id)
    if app is None:
        raise refused(700016, client_id=client_id, tenant=tenant.domain)
    if not app.service_principal:
        raise refused(7000229, client_id=app.client_id, tenant=tenant.id)
    if not app.enabled:
        raise refused(7000112, client_id=app.client_id, name=app.name)
    return app


def _check_secret(app: App, given: str, now: datetime) -> None:
    if not given:
        raise refused(7000218)
    matching = [secret for secret in app.secrets if secret.value == given]
    if not matching:
        raise refused(7000215, client_id=app.client_id)
    if not any(secret.starts_at <= now < secret.ends_at for secret in matching):
        raise refused(7000222, client_id=app.client_id)
