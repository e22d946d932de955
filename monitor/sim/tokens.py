"""The sim's access tokens: Entra mints them, Exchange reads them. Nobody else holds the key."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.sim.records import App
    from monitor.sim.world import World

ISSUER = "https://sts.windows.net/{tenant}/"  # of v1.0 tokens, which Exchange Online gets

# Entra dates tokens back by five minutes, so that a resource with a slow clock takes them at once.
BACKDATED_S = 300

_KEY_ID = "sim-key-1"


def make_key() -> rsa.RSAPrivateKey:
    """A new RSA key to sign tokens with; making one costs about 0.1 s."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Mint:
    """Signs and verifies access tokens with one key."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self._public = key.public_key()

    def issue(
        self,
        world: World,
        app: App,
        *,
        audience: str,
        credential: str,
        lifetime_s: int,
        user: str = "",
        scopes: tuple[str, ...] = (),
    ) -> str:
        """A signed v1.0 token: app-only, or delegated in the name of a user.

        `credential` is what the client proved itself with, as the claim `appidacr` says it: "0" nothing, "1" a secret,
        "2" a certificate or another assertion (Microsoft, "Access token claims reference"). Without roles the claim is
        left out, as Entra does; delegated tokens have scopes instead.
        """
        issued = int(world.now().timestamp())
        issuer = ISSUER.format(tenant=app.tenant)
        claims: dict[str, Any] = {
            "aud": audience,
            "iss": issuer,
            "iat": issued - BACKDATED_S,
            "nbf": issued - BACKDATED_S,
            "exp": issued + lifetime_s,
            "aio": world.rng.randbytes(24).hex(),
            "app_displayname": app.name,
            "appid": app.client_id,
            "appidacr": credential,
            "idp": issuer,
            "idtyp": "app",
            "oid": app.object_id,
            "rh": world.rng.randbytes(24).hex(),
            "sub": app.object_id,
            "tid": app.tenant,
            "uti": world.rng.randbytes(11).hex(),
            "ver": "1.0",
        }
        if user:
            person = str(uuid.uuid5(uuid.NAMESPACE_URL, user.lower()))
            claims |= {"idtyp": "user", "scp": " ".join(scopes), "upn": user, "unique_name": user}
            claims |= {"oid": person, "sub": person}
        elif app.roles and audience.startswith("https://outlook."):
            claims["roles"] = list(app.roles)
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": _KEY_ID, "x5t": _KEY_ID})

    def read(self, token: str, now: datetime) -> dict[str, Any] | None:
        """The claims of a token that this key signed and that is valid at this moment, else none."""
        try:
            # The library would look at the wall clock: times are compared with the world's here.
            claims: dict[str, Any] = jwt.decode(
                token,
                self._public,
                algorithms=["RS256"],
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
            )
        except jwt.InvalidTokenError:
            return None
        return claims if claims["nbf"] <= now.timestamp() < claims["exp"] else None
