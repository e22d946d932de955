"""What a token says of itself is foreign text like any other."""

from __future__ import annotations

import base64
import json

from checks.core.kit import AccessToken
from checks.core.secret import Address, Redactor, Secret
from checks.wire.claims import peek


def test_claims_are_redacted_and_bounded() -> None:
    """An address in a claim does not show, thousands of roles are a few, and a GUID stays what it is."""
    tenant = "3fd2b7a9-0000-4000-8000-000000000001"
    said = {"tid": tenant, "aud": "mara@fabrikam.example", "roles": ["ops@contoso.example"] * 9999, "scp": "a " * 9999}
    token = f"x.{base64.urlsafe_b64encode(json.dumps(said).encode()).decode()}.x"
    seen = peek(
        AccessToken(value=Secret(token), lifetime=3599.0, given_at=0.0), Redactor([Address("ops@contoso.example")])
    )
    assert (tenant, "[address]") == (seen.tenant_id, seen.audience)
    assert "contoso.example" not in repr(seen)
    assert 2000 > len(repr(seen))
