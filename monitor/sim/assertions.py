"""Whether a client assertion is good: signed with the app's certificate, or another issuer's token that the app trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt

from monitor.sim.refusals import refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from jwt.types import Options

    from monitor.sim.federation import Issuer
    from monitor.sim.records import App, Certificate

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523, 2.2

_ALGORITHMS = ("PS256", "RS256")  # Microsoft, "Certificate credentials"; RS256 came with the older thumbprint header
_LEEWAY_S = 300  # Entra forgives clocks that are five minutes off
# The library would look at the wall clock: times are compared with the world's.
_UNCHECKED: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}

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


def check_assertion(
    app: App, form: Mapping[str, str], token_url: str, issuers: Iterable[Issuer], now: datetime
) -> None:
    """Return if the assertion proves the app, else raise `Refused`. `token_url` is what it must be meant for."""
    assertion = form["client_assertion"]
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise refused(900144, parameter="client_assertion_type")
    try:
        header = jwt.get_unverified_header(assertion)
        claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False, **_UNCHECKED})
    except jwt.InvalidTokenError as error:
        raise refused(50027) from error
    if str(claims.get("iss", "")).startswith("https://"):
        _check_federated(app, assertion, claims, issuers)
    else:
        _check_certificate(app, assertion, header, now)
        _check_own_claims(app, claims, token_url)
    _check_times(claims, now)


def _check_federated(app: App, assertion: str, claims: Mapping[str, Any], issuers: Iterable[Issuer]) -> None:
    """Issuer, audience and subject, in the order in which the real service complains of them."""
    issuer, subject, audience = str(claims["iss"]), str(claims.get("sub", "")), claims.get("aud")
    audiences = [str(one) for one in audience] if isinstance(audience, list) else [str(audience)]
    if not app.federated:
        raise refused(70021, issuer=issuer, subject=subject, audience=audiences[0])
    trusted = [one for one in app.federated if one.issuer == issuer]
    if not trusted:
        raise refused(700211, issuer=issuer)
    trusted = [one for one in trusted if one.audience in audiences]
    if not trusted:
        raise refused(700212, audience=audiences[0])
    if not any(one.subject == subject for one in trusted):
        raise refused(700213, subject=subject)
    if not any(one.url == issuer and one.signed(assertion) for one in issuers):
        raise refused(50013)


def _check_certificate(app: App, assertion: str, header: Mapping[str, Any], now: datetime) -> None:
    certificate = _registered(app, header)
    if certificate is None:
        problem, reason = _UNREGISTERED
        raise refused(700027, problem=problem, reason=reason, client_id=app.client_id)
    if not certificate.starts_at <= now < certificate.ends_at:
        problem, reason = _EXPIRED
        raise refused(700027, problem=problem, reason=reason, client_id=app.client_id)
    try:
        jwt.decode(assertion, certificate.key, algorithms=_ALGORITHMS, options=_UNCHECKED)
    except jwt.InvalidTokenError as error:
        problem, reason = _WRONG_KEY
        raise refused(700027, problem=problem, reason=reason, client_id=app.client_id) from error


def _registered(app: App, header: Mapping[str, Any]) -> Certificate | None:
    """The certificate that the assertion's header names by its thumbprint; MSAL Python sends it with padding."""
    sha256, sha1 = (str(header.get(name)).rstrip("=") for name in ("x5t#S256", "x5t"))
    return next((one for one in app.certificates if sha256 == one.x5t_s256 or sha1 == one.x5t), None)


def _check_own_claims(app: App, claims: Mapping[str, Any], token_url: str) -> None:
    if claims.get("iss") != app.client_id or claims.get("sub") != app.client_id:
        raise refused(700021)
    if claims.get("aud") != token_url:
        raise refused(700023)


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    moment, starts, ends = now.timestamp(), claims.get("nbf", 0), claims.get("exp", 0)
    if not isinstance(starts, int | float) or not isinstance(ends, int | float):
        raise refused(50027)
    if not starts - _LEEWAY_S <= moment < ends + _LEEWAY_S:
        raise refused(700024, now=now.isoformat(), starts=str(starts), ends=str(ends))
