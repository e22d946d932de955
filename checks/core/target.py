"""What checks are aimed at: clouds and endpoints, tenants, apps and their credentials, mailboxes.

All plain frozen values, so that two plans can be compared. A target knows its `chain`: which instance of every scope
stands above it, which is how a cause that reaches further than its target finds the thing it reaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from urllib.parse import urlsplit

from checks.core.model import Evidence, Protocol, Scope, Subject
from checks.core.secret import Address, Secret


class TlsMode(StrEnum):
    """How a connection becomes TLS: by the STARTTLS command (RFC 3207) or from the first byte (RFC 8314)."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A host and port that is probed. `ca_file` names a private CA; without one the system's CAs are trusted."""

    host: str
    port: int
    tls: TlsMode = TlsMode.STARTTLS
    ca_file: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One Microsoft cloud, or a private stand-in for it: where its authority and its mail servers are."""

    name: str
    authority: str
    scope: str
    smtp: Endpoint
    ca_file: str | None = None

    @property
    def authority_endpoint(self) -> str:
        """Host and port of the authority, as an endpoint is written."""
        parts = urlsplit(self.authority)
        return f"{parts.hostname}:{parts.port or 443}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """An Entra tenant: `tenant_id` is its GUID or one of its domains."""

    name: str
    tenant_id: str
    cloud: Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who looks after an app: shown in notices and documents."""

    team: str = ""
    contact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app registration in a tenant: one token serves all the mailboxes it may use."""

    id: str
    tenant: Tenant
    client_id: str
    owner: Owner = field(default_factory=Owner)


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A credential's material: a client secret (its value, not its id)."""

    value: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A credential's material: a private key and its certificate, both PEM; the key is unencrypted in memory."""

    key_pem: Secret
    certificate_pem: str


Material = ClientSecret | ClientCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One secret or certificate of an app; the target of `token`. `name` is its place: `current`."""

    app: App
    material: Material
    name: str = "current"
    expires: date | None = None

    @property
    def id(self) -> str:
        """The app's id and the credential's place in it."""
        return f"{self.app.id}/{self.name}"

    @property
    def chain(self) -> Mapping[Scope, str]:
        """The instance of every scope that this credential stands under."""
        return {Scope.TENANT: self.app.tenant.name, Scope.APP: self.app.id, Scope.CREDENTIAL: self.id}

    @property
    def own_scope(self) -> Scope:
        """What `target` means in a row of the table of causes."""
        return Scope.CREDENTIAL

    @property
    def cloud(self) -> Cloud:
        """The cloud that the credential's tenant lives in."""
        return self.app.tenant.cloud

    @property
    def private(self) -> tuple[Secret | Address, ...]:
        """What must not show of it."""
        material = self.material
        return (material.value,) if isinstance(material, ClientSecret) else (material.key_pem,)

    @property
    def words(self) -> Mapping[str, str]:
        """What the steps of a cause may name: every value may be shown."""
        app = self.app
        return {
            "app": app.id,
            "client_id": app.client_id,
            "credential": self.id,
            "tenant": app.tenant.name,
            "tenant_id": app.tenant.tenant_id,
            "authority": self.cloud.authority_endpoint,
            "smtp_host": self.cloud.smtp.host,
            "smtp_port": str(self.cloud.smtp.port),
            "contact": app.owner.contact,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """An address that an app sends as; the target of `smtp_auth` and `canary`. `id` is short, opaque and showable."""

    id: str
    address: Address
    credential: Credential
    endpoint: Endpoint

    @property
    def chain(self) -> Mapping[Scope, str]:
        """The instance of every scope that this mailbox stands under."""
        return {**self.credential.chain, Scope.MAILBOX: self.id}

    @property
    def own_scope(self) -> Scope:
        """What `target` means in a row of the table of causes."""
        return Scope.MAILBOX

    @property
    def cloud(self) -> Cloud:
        """The cloud that the mailbox's tenant lives in."""
        return self.credential.cloud

    @property
    def private(self) -> tuple[Secret | Address, ...]:
        """What must not show of it."""
        return (self.address, *self.credential.private)

    @property
    def words(self) -> Mapping[str, str]:
        """What the steps of a cause may name: every value may be shown; the address is not among them."""
        here = {"mailbox": self.id, "smtp_host": self.endpoint.host, "smtp_port": str(self.endpoint.port)}
        return {**self.credential.words, **here}


Target = Credential | Mailbox


def subject_of(target: Target, scope: Scope, evidence: Evidence) -> Subject:
    """The instance of `scope` that a cause reaches, seen from a target.

    An endpoint is the one the evidence comes from: the authority for `oauth`, else the mail server. A scope that the
    target has no instance of (the mailbox of a credential) falls back on the target itself.
    """
    if scope in {Scope.MONITOR, Scope.NETWORK}:
        return Subject(scope, "self")
    if scope is Scope.ENDPOINT:
        if evidence.protocol is Protocol.OAUTH or isinstance(target, Credential):
            return Subject(scope, target.cloud.authority_endpoint)
        return Subject(scope, str(target.endpoint))
    chain = target.chain
    if scope not in chain:
        scope = target.own_scope
    return Subject(scope, chain[scope])
