"""Who gets a token: Entra ID's decision on one client-credentials request, without any HTTP.

Order of the questions: tenant, request, app, credential, policy, scope. Microsoft does not publish its own order; this
one lets each single mistake show the code that it shows in reality.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import jwt

from monitor.sim.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from monitor.sim.records import App, Certificate, Tenant
    from monitor.sim.world import World

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523, 2.2
SECRET, CERTIFICATE = "1", "2"  # values of the claim appidacr

RESOURCES = ("https://outlook.office365.com", "https://outlook.office.com", "https://graph.microsoft.com")

_NO_TENANT = ("common", "organizations", "consumers")
_ALGORITHMS = ("PS256", "RS256")  # Microsoft, "Certificate credentials"; RS256 came with the older thumbprint header
_LEEWAY_S = 300  # Entra forgives clocks that are five minutes off

# What AADSTS700027 says of the certificate, and its reason.
_UNREGISTERED = (
    "The certificate with identifier used to sign the client assertion is not registered on application.",
    "The key was not found.",
)
_EXPIRED = (
    "The certificate with identifier used to sign the client assertion is expired on application.",
    "The key used is expired.",
)
_WRONG_KEY = (
    "Client assertion contains an invalid signature.",
    "The provided signature value did not match the expected signature value.",
)


@dataclass(frozen=True, slots=True)
class Grant:
    """A token may be issued: to whom, for what, and by which kind of credential."""

    app: App
    audience: str
    credential: str


def find_tenant(world: World, name: str) -> Tenant:
    """The tenant in a URL's path."""
    if name.lower() in _NO_TENANT:
        raise refused(50059)
    tenant = world.tenant(name)
    if tenant is None:
        raise refused(90002, tenant=name)
    return tenant


def decide(world: World, tenant_name: str, form: Mapping[str, str], basic: str | None, token_url: str) -> Grant:
    """The grant that a token request gets, or `Refused`.

    `form` is the request's body, `basic` its Authorization header if it has one, `token_url` what a client assertion
    must be meant for.
    """
    tenant = find_tenant(world, tenant_name)
    if tenant.throttled:
        raise refused(90055, tenant=tenant.domain)
    client_id, secret = _client(form, basic)
    for parameter, value in (("grant_type", form.get("grant_type")), ("client_id", client_id)):
        if not value:
            raise refused(900144, parameter=parameter)
    if form["grant_type"] != "client_credentials":
        raise refused(70003, grant_type=form["grant_type"])
    app = _usable_app(world, tenant, client_id)
    if "client_assertion" in form:
        _check_assertion(world, app, form, token_url)
    else:
        _check_secret(app, secret, world.now())
    if app.conditional_access_block:
        raise refused(53003)
    credential = CERTIFICATE if "client_assertion" in form else SECRET
    return Grant(app, _audience(form.get("scope", ""), tenant), credential)


def _client(form: Mapping[str, str], basic: str | None) -> tuple[str, str]:
    """Client id and secret, from the body or the Basic header, whose parts are form-encoded (RFC 6749, 2.3.1)."""
    if basic is None or not basic.lower().startswith("basic "):
        return form.get("client_id", ""), form.get("client_secret", "")
    try:
        user, _, password = base64.b64decode(basic[6:], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote_plus(user), unquote_plus(password)


def _usable_app(world: World, tenant: Tenant, client_id: str) -> App:
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


def _check_assertion(world: World, app: App, form: Mapping[str, str], token_url: str) -> None:
    assertion = form["client_assertion"]
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise refused(900144, parameter="client_assertion_type")
    try:
        header = jwt.get_unverified_header(assertion)
    except jwt.InvalidTokenError as error:
        raise refused(50027) from error
    certificate = _registered(app, header)
    if certificate is None:
        problem, reason = _UNREGISTERED
        raise refused(700027, problem=problem, reason=reason, client_id=app.client_id)
    now = world.now()
    if not certificate.starts_at <= now < certificate.ends_at:
        problem, reason = _EXPIRED
        raise refused(700027, problem=problem, reason=reason, client_id=app.client_id)
    try:
        claims: dict[str, Any] = jwt.decode(
            assertion,
            certificate.key,
            algorithms=_ALGORITHMS,
            # The library would look at the wall clock: times are compared with the world's below.
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except jwt.InvalidTokenError as error:
        problem, reason = _WRONG_KEY
        raise refused(700027, problem=problem, reason=reason, client_id=app.client_id) from error
    _check_claims(app, claims, token_url, now)


def _registered(app: App, header: Mapping[str, Any]) -> Certificate | None:
    """The certificate that the assertion's header names by its thumbprint; MSAL Python sends it with padding."""
    sha256, sha1 = (str(header.get(name)).rstrip("=") for name in ("x5t#S256", "x5t"))
    return next((one for one in app.certificates if sha256 == one.x5t_s256 or sha1 == one.x5t), None)


def _check_claims(app: App, claims: Mapping[str, Any], token_url: str, now: datetime) -> None:
    if claims.get("iss") != app.client_id or claims.get("sub") != app.client_id:
        raise refused(700021)
    if claims.get("aud") != token_url:
        raise refused(700023)
    moment, starts, ends = now.timestamp(), claims.get("nbf", 0), claims.get("exp", 0)
    if not isinstance(starts, int | float) or not isinstance(ends, int | float):
        raise refused(50027)
    if not starts - _LEEWAY_S <= moment < ends + _LEEWAY_S:
        raise refused(700024, now=now.isoformat(), starts=str(starts), ends=str(ends))


def _audience(scope: str, tenant: Tenant) -> str:
    """The one resource of the scopes."""
    if not scope:
        raise refused(900144, parameter="scope")
    scopes = scope.split()
    if any(not one.endswith("/.default") for one in scopes):
        raise refused(1002012, scope=scope)
    resources = {one.removesuffix("/.default").rstrip("/") for one in scopes}
    if len(resources) > 1:
        raise refused(28000, scope=scope)
    resource = resources.pop()
    if resource not in RESOURCES:
        raise refused(500011, resource=resource, tenant=tenant.domain)
    return resource
