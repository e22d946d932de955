"""A real OpenID Connect issuer (npm `oidc-provider`) behind the addresses that MSAL expects of Entra ID.

It knows client credentials with a secret (client_secret_post) and with a certificate (private_key_jwt, PS256 and
RS256), and issues RS256 access tokens with the claims of an Entra ID app-only token. What it says in errors is its
own: `{"error": "invalid_client"}` with 401 and no AADSTS code.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peers import npm
from tests.peers.authority import PrivateCA
from tests.peers.process import HOST, accepts, free_port, running, temporary_home

TENANT = "6f1d9c4e-0b7a-4e0c-9a55-3a2f8d1c7b10"
RESOURCE = "https://outlook.office365.com"
SCOPE = f"{RESOURCE}/.default"
KEY_ID = "peer-key"
TOKEN_SECONDS = 3600

_PROGRAM = Path(__file__).with_name("oidc.mjs")
_GRAPH = "https://graph.microsoft.com"
# Makes the whole token longer than the 1,536 bytes that still fit, in base64, into a stock Postfix's 2,048 character
# command line; Entra ID's own app-only tokens are about 1,900 characters long.
_LONG = {"wids": ["0997a1d0-0d1d-4acb-b408-d5ca73121e90"] * 16}


@dataclass(frozen=True, slots=True)
class AppCertificate:
    """An app's certificate and key as PEM, with the SHA-1 thumbprint (hexadecimal) that MSAL's RS256 form wants."""

    certificate: str
    private_key: str
    thumbprint: str


@dataclass(frozen=True, slots=True)
class App:
    """An app registration: it has a secret or a certificate; `claims` overlay those of its tokens."""

    client_id: str
    secret: str | None = None
    certificate: AppCertificate | None = None
    claims: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Apps:
    """The app registrations that the issuer knows.

    The mail servers accept the tokens of the first three. They refuse those of `wrong_scope` (they are for Graph)
    and of `expired` (they were over when they were issued), which the issuer gives out as if they were good.
    """

    by_secret: App
    by_certificate: App
    long_token: App
    wrong_scope: App
    expired: App

    def all(self) -> tuple[App, ...]:
        """Every app."""
        return (self.by_secret, self.by_certificate, self.long_token, self.wrong_scope, self.expired)


@dataclass(frozen=True, slots=True)
class Oidc:
    """A running issuer. For MSAL: `authority`, with `instance_discovery=False` and an own `http_client`."""

    host: str
    port: int
    ca_file: Path
    tenant: str
    scope: str
    apps: Apps
    key_id: str
    public_key: str  # PEM, for whoever validates the tokens

    @property
    def authority(self) -> str:
        """What MSAL is given; it appends /v2.0/.well-known/openid-configuration."""
        return f"https://{self.host}:{self.port}/{self.tenant}"

    @property
    def issuer(self) -> str:
        """The `iss` of every token."""
        return f"{self.authority}/v2.0"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.issuer}/token"


@contextmanager
def running_oidc(authority: PrivateCA, *, token_seconds: int = TOKEN_SECONDS) -> Iterator[Oidc]:
    """An issuer whose tokens live for `token_seconds`; PeerMissingError without Node or its packages."""
    npm.install()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public_key = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    issuer = Oidc("localhost", free_port(), authority.ca_file, TENANT, SCOPE, _apps(), KEY_ID, public_key.decode())
    with temporary_home("oidc") as home:
        settings = home / "settings.json"
        settings.touch(mode=0o600)
        settings.write_text(
            json.dumps(
                {
                    "issuer": issuer.issuer,
                    "host": HOST,
                    "port": issuer.port,
                    "certificate_file": str(authority.certificate_file),
                    "key_file": str(authority.key_file),
                    "key": _pem(key),
                    "key_id": KEY_ID,
                    "resource": RESOURCE,
                    "scope": SCOPE,
                    "token_seconds": token_seconds,
                    "apps": [_settings(app) for app in issuer.apps.all()],
                }
            )
        )
        with running([npm.node(), _PROGRAM, settings], log=home / "log", ready=lambda: accepts(issuer.port)):
            yield issuer


def _apps() -> Apps:
    roles: dict[str, object] = {"tid": TENANT, "roles": ["SMTP.SendAsApp", "IMAP.AccessAsApp"]}
    return Apps(
        by_secret=App("4a0b3f5e-72d1-4c8e-9f36-000000000001", secret="by-secret~K1", claims=roles),
        by_certificate=App("4a0b3f5e-72d1-4c8e-9f36-000000000002", certificate=_certificate(), claims=roles),
        long_token=App("4a0b3f5e-72d1-4c8e-9f36-000000000003", secret="long-token~K2", claims=roles | _LONG),
        wrong_scope=App(
            "4a0b3f5e-72d1-4c8e-9f36-000000000004",
            secret="wrong-scope~K3",
            claims=roles | {"aud": _GRAPH, "scope": f"{_GRAPH}/.default"},
        ),
        expired=App("4a0b3f5e-72d1-4c8e-9f36-000000000005", secret="expired~K4", claims=roles | {"iat": 1, "exp": 2}),
    )


def _certificate() -> AppCertificate:
    # RSA, because that is all MSAL signs with.
    made = trustme.CA().issue_cert("app.canary.test", key_type=trustme.KeyType.RSA)
    pem = made.cert_chain_pems[0].bytes()
    thumbprint = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA1())  # noqa: S303 - x5t is SHA-1, RFC 7515
    return AppCertificate(pem.decode(), made.private_key_pem.bytes().decode(), thumbprint.hex().upper())


def _pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _settings(app: App) -> dict[str, object]:
    return asdict(app) | {"certificate": app.certificate.certificate if app.certificate else None}
