"""What each material asks for a token: Entra ID by MSAL, or the identity endpoint of the host.

Everything here runs in a pool thread and reads what stands in files anew. MSAL answers from two caches and does not say so:
every acquisition uses a new application object with empty caches.
"""

from __future__ import annotations

import base64
import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt
import msal
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import load_pem_x509_certificate

from checks.core.clock import Clock
from checks.core.material import ClientCertificate, ClientSecret, FederatedToken, ManagedIdentity, RefreshToken
from checks.core.model import Evidence, Kind, Phase, Protocol
from checks.core.secret import Secret
from checks.core.target import Credential
from checks.core.trace import Failure, Trace
from checks.wire.bridge import Bridge
from checks.wire.claims import claims_of
from checks.wire.files import UnusableFileError, read_text
from checks.wire.refresh import RefreshTokens, Use

# How far clocks may differ before tokens are refused: the usual tolerance for JWT times, in seconds.
MAX_SKEW = 300.0
# Entra wants client assertions that live 5 to 10 minutes ("Certificate credentials").
ASSERTION_LIFE = timedelta(minutes=5)
# A projected token of Kubernetes has 1 KB; what is larger than this is the wrong file.
MAX_ASSERTION = 64 * 1024
_ADDED_BY_MSAL = frozenset({"openid", "profile", "offline_access"})
# What the host puts into our environment so that nobody else can ask its identity endpoint (App Service, Azure ML).
_HOST_SECRETS = ("IDENTITY_HEADER", "MSI_SECRET")

# MSAL logs the whole body of an answer that is not JSON, and a traceback with it.
logging.getLogger("msal").setLevel(logging.CRITICAL)


class NoCache(dict[Any, Any]):
    """MSAL's HTTP cache, which remembers refusals for a minute: this one keeps nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Answer:
    """MSAL's answer. `age` is how old the refresh token was that bought it, in seconds; `unsaved` why it was not kept."""

    given: Mapping[str, Any]
    age: float | None = None
    unsaved: str = ""


def mistake(trace: Trace, code: str, text: str, path: Path | None = None) -> Failure:
    """What our own files or host lack, as a failure. A path is redacted step by step: a long one looks like base64."""
    text = trace.redact(text)
    if path is not None:
        text = f"{'/'.join(map(trace.redact, str(path).split('/')))}: {text}"
    return Failure(Evidence(protocol=Protocol.OAUTH, phase=Phase.TOKEN, kind=Kind.OBSERVED, code=code, text=text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One acquisition for one credential. Whatever MSAL raises, the bridge knows what happened on the wire."""

    credential: Credential
    bridge: Bridge
    clock: Clock
    refresh_tokens: RefreshTokens

    def ask(self) -> Answer:
        """Ask for an access token. Raises Failure for what is wrong on our side."""
        match self.credential.material:
            case ClientSecret() as secret:
                return self._as_app(secret.value.reveal())
            case ClientCertificate() as certificate:
                return self._as_app({"client_assertion": lambda wanted: _signed(certificate, wanted)})
            case FederatedToken() as federated:
                assertion = self._assertion(Path(federated.token_file))
                return self._as_app({"client_assertion": lambda _: assertion})
            case ManagedIdentity() as identity:
                return self._as_host(identity)
            case RefreshToken() as material:
                try:
                    with self.refresh_tokens.using(material.file) as use:
                        return self._as_user(material, use)
                except UnusableFileError as error:
                    raise mistake(self.bridge.trace, "refresh_token_file", error.problem, error.path) from error

    def _as_app(self, proof: object) -> Answer:
        app = self.credential.app
        client = msal.ConfidentialClientApplication(app.client_id, client_credential=proof, **client_options(self))
        return Answer(client.acquire_token_for_client(scopes=[app.tenant.cloud.scope]))

    def _assertion(self, path: Path) -> str:
        """The token in a file that somebody else renews, if it is one that may still be used."""
        trace = self.bridge.trace
        try:
            assertion = read_text(path, MAX_ASSERTION)
        except UnusableFileError as error:
            raise mistake(trace, "token_file", error.problem, path) from error
        trace.redact.learn(Secret(assertion))
        claims = claims_of(assertion)
        if claims is None:
            raise mistake(trace, "token_file", "holds no JSON Web Token", path)
        ends = claims.get("exp")
        late = self.clock.now().timestamp() - ends if isinstance(ends, int | float) else 0.0
        if late > MAX_SKEW:
            raise mistake(trace, "token_file_expired", f"the token in it expired {late:.0f} s ago", path)
        return assertion

    def _as_host(self, identity: ManagedIdentity) -> Answer:
        """MSAL finds the endpoint by the environment: App Service and others by theirs, else that of a virtual machine."""
        for name in _HOST_SECRETS:
            if value := os.environ.get(name):
                self.bridge.trace.redact.learn(Secret(value))
        chosen = (
            msal.UserAssignedManagedIdentity(client_id=identity.client_id)
            if identity.client_id
            else msal.SystemAssignedManagedIdentity()
        )
        client = msal.ManagedIdentityClient(
            chosen, http_client=self.bridge, http_cache=NoCache(), token_cache=msal.TokenCache()
        )
        resource = self.credential.app.tenant.cloud.scope.removesuffix("/.default")
        try:
            return Answer(client.acquire_token_for_client(resource=resource))
        except msal.ManagedIdentityError as error:  # nothing was asked: a sort of host that MSAL has other demands for
            raise mistake(self.bridge.trace, "identity_endpoint", str(error)) from error

    def _as_user(self, material: RefreshToken, use: Use) -> Answer:
        """The new refresh token is on the disk before anybody hears of the access token."""
        self.bridge.trace.redact.learn(use.stored.token)
        client = user_client(self, material)
        given = client.acquire_token_by_refresh_token(use.stored.token.reveal(), scopes=wanted(material))
        now = self.clock.now()
        age = max(0.0, (now - use.stored.obtained_at).total_seconds())
        renewed = given.get("refresh_token")
        if "access_token" not in given or not renewed:
            return Answer(given, age)
        kept = replace(use.stored, token=Secret(str(renewed)), obtained_at=now, scopes=material.scopes)
        self.bridge.trace.redact.learn(kept.token)
        return Answer(given, age, use.keep(kept))


def wanted(material: RefreshToken) -> list[str]:
    """The scopes to ask for; MSAL adds the others itself, and refuses to be told them."""
    return [scope for scope in material.scopes if scope not in _ADDED_BY_MSAL]


def client_options(asking: Asking) -> dict[str, Any]:
    """What every application object of MSAL is made with."""
    tenant = asking.credential.app.tenant
    return {
        "authority": f"{tenant.cloud.authority}/{tenant.tenant_id}",
        "instance_discovery": False,
        "http_client": asking.bridge,
        "http_cache": NoCache(),
        "token_cache": msal.TokenCache(),
    }


def user_client(asking: Asking, material: RefreshToken) -> Any:
    """The application object of a delegated app: public, or with a secret of its own."""
    client_id = asking.credential.app.client_id
    if material.secret is None:
        return msal.PublicClientApplication(client_id, **client_options(asking))
    secret = material.secret.reveal()
    return msal.ConfidentialClientApplication(client_id, client_credential=secret, **client_options(asking))


@lru_cache(maxsize=1024)
def _signing_key(certificate: ClientCertificate) -> tuple[rsa.RSAPrivateKey, str]:
    """The loaded key (parsing one costs 29 ms) and the certificate's SHA-256 thumbprint in base64url."""
    key = serialization.load_pem_private_key(certificate.key_pem.reveal().encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("Entra ID takes RSA keys only")
    digest = load_pem_x509_certificate(certificate.certificate_pem.encode()).fingerprint(hashes.SHA256())
    return key, base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _signed(certificate: ClientCertificate, wanted: Mapping[str, str]) -> str:
    """A client assertion as "Certificate credentials" describes it: PS256, x5t#S256, a new jti each time."""
    key, thumbprint = _signing_key(certificate)
    now = datetime.now().astimezone()
    claims = {
        "aud": wanted["token_endpoint"],
        "iss": wanted["client_id"],
        "sub": wanted["client_id"],
        "jti": str(uuid.uuid4()),
        "nbf": now,
        "exp": now + ASSERTION_LIFE,
    }
    return jwt.encode(claims, key, algorithm="PS256", headers={"x5t#S256": thumbprint})
