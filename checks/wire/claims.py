"""What a token says of itself, unverified, for diagnosis only."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from checks.core.kit import AccessToken
from checks.core.model import ClaimsSeen


def claims_of(token: str) -> Mapping[str, Any] | None:
    """The claims of a JWT (RFC 7519), whoever signed it; None for what is none."""
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError, binascii.Error, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


def peek(token: AccessToken) -> ClaimsSeen:
    """An access token's claims; an opaque one is simply not readable."""
    claims = claims_of(token.value.reveal())
    if claims is None:
        return ClaimsSeen(readable=False, lifetime=token.lifetime)
    roles = claims.get("roles", [])
    return ClaimsSeen(
        readable=True,
        lifetime=token.lifetime,
        audience=str(claims.get("aud", "")),
        tenant_id=str(claims.get("tid", "")),
        client_id=str(claims.get("appid") or claims.get("azp") or ""),
        credential_kind=str(claims.get("appidacr") or claims.get("azpacr") or ""),
        roles=tuple(str(role) for role in roles) if isinstance(roles, list) else (),
        scopes=tuple(str(claims.get("scp", "")).split()),
    )
