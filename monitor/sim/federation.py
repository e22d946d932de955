"""An identity provider that is not Entra ID, such as a Kubernetes cluster: it signs the tokens that a federated app shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt

from monitor.sim.records import FEDERATION_AUDIENCE

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.types import Options

LIFETIME_S = 3600  # of a projected token of Kubernetes


class Issuer:
    """Signs and verifies with one key, as a provider with that URL."""

    def __init__(self, key: rsa.RSAPrivateKey, url: str) -> None:
        self._key = key
        self.url = url

    def token(self, subject: str, now: datetime, *, life_s: int = LIFETIME_S, **claims: object) -> str:
        """A token of the subject, good from `now` on; `claims` replace the proper ones."""
        issued = int(now.timestamp())
        proper = {
            "iss": self.url,
            "sub": subject,
            "aud": [FEDERATION_AUDIENCE],
            "iat": issued,
            "nbf": issued,
            "exp": issued + life_s,
        }
        return jwt.encode({**proper, **claims}, self._key, algorithm="RS256", headers={"kid": "cluster-key-1"})

    def signed(self, token: str) -> bool:
        """Whether a token bears this provider's signature; only RS256 is taken, as Entra ID does."""
        checks: Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        try:
            jwt.decode(token, self._key.public_key(), algorithms=["RS256"], options=checks)
        except jwt.InvalidTokenError:
            return False
        return True
