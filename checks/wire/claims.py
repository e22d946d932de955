"""What a token says of itself, unverified, for diagnosis only."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from checks.core.kit import AccessToken
from checks.core.model import ClaimsSeen
from checks.core.secret import Redactor

# Roles and scopes that are kept of a token: an app that mails needs one to three.
MAX_NAMES = 64


def claims_of(token: str) -> Mapping[str, Any] | None:
    """The claims of a JWT (RFC 7519), whoever signed it; None for what is none."""
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError, binascii.Error, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def peek(token: AccessToken, redact: Redactor) -> ClaimsSeen:
    """An access token's claims; an opaque one is simply not readable."""
    claims = claims_of(token.value.reveal())
    if claims is None:
        return ClaimsSeen(readable=False, lifetime=token.lifetime)

    def said(*names: str) -> str:
        return redact(str(next(filter(None, map(claims.get, names)), "")))

    roles = claims.get("roles", [])
    scopes = str(claims.get("scp", "")).split()
    return ClaimsSeen(
        readable=True,
        lifetime=token.lifetime,
        audience=said("aud"),
        tenant_id=said("tid"),
        client_id=said("appid", "azp"),
        credential_kind=said("appidacr", "azpacr"),
        roles=tuple(redact(str(role)) for role in roles[:MAX_NAMES]) if isinstance(roles, list) else (),
        scopes=tuple(map(redact, scopes[:MAX_NAMES])),
    )
