"""What checks are aimed at: routes to endpoints, credentials of apps, mailboxes, inboxes.

All plain frozen values, so that two plans can be compared. A target knows its `chain` (which instance of every scope
stands above it, which is how a cause that reaches further than its target finds the thing it reaches), what it is aimed
at in words (`names`, `words`, and `words_of` for what was seen there), what must not show of it (`private`), which host a
run connects to (`connects_to`) and what a run occupies (`occupies`): of two runs that occupy the same thing, one waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from checks.core.cloud import Cloud, Endpoint, Family, TlsMode
from checks.core.material import Material
from checks.core.model import Evidence, Protocol, Scope, Subject
from checks.core.secret import Address, Secret


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One credential of an app; the target of `token`. `name` is its place: `current`."""

    app: App
    material: Material
    name: str = "current"
    expires: date | None = None

    @property
    def id(self) -> str:
        """The app's id and the credential's place in it."""
        return f"{self.app.id}/{self.name}"

    @property
    def cloud(self) -> Cloud:
        """The cloud that the credential's tenant lives in."""
        return self.app.tenant.cloud

    @property
    def credential(self) -> Credential:
        """Itself."""
        return self

    @property
    def chain(self) -> Mapping[Scope, str]:
        """The instance of every scope that this credential stands under."""
        return {Scope.TENANT: self.app.tenant.name, Scope.APP: self.app.id, Scope.CREDENTIAL: self.id}

    @property
    def own_scope(self) -> Scope:
        """What `target` means in a row of the table of causes."""
        return Scope.CREDENTIAL

    @property
    def connects_to(self) -> str:
        """The authority."""
        return str(self.cloud.authority_endpoint)

    @property
    def occupies(self) -> None:
        """Nothing: one credential may be asked for twice at a time."""

    @property
    def private(self) -> tuple[Secret | Address, ...]:
        """What must not show of it."""
        return self.material.private

    @property
    def names(self) -> Mapping[str, str]:
        """The things it is about, by kind."""
        return {"tenant": self.app.tenant.name, "app": self.app.id}

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
            "authority": str(self.cloud.authority_endpoint),
            "contact": app.owner.contact,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """An address that an app sends as. `id` is short, opaque and showable; `endpoint` is where it sends by SMTP."""

    id: str
    address: Address
    credential: Credential
    endpoint: Endpoint

    @property
    def cloud(self) -> Cloud:
        """The cloud that the mailbox's tenant lives in."""
        return self.credential.cloud

    @property
    def chain(self) -> Mapping[Scope, str]:
        """The instance of every scope that this mailbox stands under."""
        return {**self.credential.chain, Scope.MAILBOX: self.id}

    @property
    def own_scope(self) -> Scope:
        """What `target` means in a row of the table of causes."""
        return Scope.MAILBOX

    @property
    def connects_to(self) -> str:
        """Its SMTP server."""
        return str(self.endpoint)

    @property
    def occupies(self) -> str:
        """The mailbox: Exchange Online allows it three connections, and its application wants them."""
        return self.id

    @property
    def private(self) -> tuple[Secret | Address, ...]:
        """What must not show of it."""
        return (self.address, *self.credential.private)

    @property
    def names(self) -> Mapping[str, str]:
        """The things it is about, by kind."""
        return {**self.credential.names, "mailbox": self.id}

    @property
    def words(self) -> Mapping[str, str]:
        """What the steps of a cause may name: every value may be shown; the address is not among them."""
        return {**self.credential.words, "mailbox": self.id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One way to an endpoint, by one address family or to one pinned address: the target of `endpoint`.

    `xoauth2`: somebody signs in there with a token, so that it has to be offered.
    """

    protocol: Protocol
    endpoint: Endpoint
    family: Family = Family.ANY
    ip: str = ""
    xoauth2: bool = True

    @property
    def id(self) -> str:
        """The endpoint and the way to it."""
        return f"{self.endpoint}/{self.ip or self.family}"

    @property
    def credential(self) -> None:
        """None: an endpoint is looked at without signing in."""

    @property
    def chain(self) -> Mapping[Scope, str]:
        """The endpoint."""
        return {Scope.ENDPOINT: str(self.endpoint)}

    @property
    def own_scope(self) -> Scope:
        """What `target` means in a row of the table of causes."""
        return Scope.ENDPOINT

    @property
    def connects_to(self) -> str:
        """The endpoint."""
        return str(self.endpoint)

    @property
    def occupies(self) -> None:
        """Nothing."""

    @property
    def private(self) -> tuple[Secret | Address, ...]:
        """Nothing of it is private."""
        return ()

    @property
    def names(self) -> Mapping[str, str]:
        """The things it is about, by kind."""
        return {"endpoint": self.id}

    @property
    def words(self) -> Mapping[str, str]:
        """Nothing but what `words_of` adds."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """Where canaries are looked for, by IMAP: with a token of `credential`, or with the `password` of a foreign inbox.

    Exactly one of the two is there.
    """

    id: str
    address: Address
    endpoint: Endpoint
    credential: Credential | None = None
    password: Secret | None = None

    @property
    def chain(self) -> Mapping[Scope, str]:
        """The instance of every scope that this inbox stands under."""
        above = self.credential.chain if self.credential else {}
        return {**above, Scope.INBOX: self.id}

    @property
    def own_scope(self) -> Scope:
        """What `target` means in a row of the table of causes."""
        return Scope.INBOX

    @property
    def connects_to(self) -> str:
        """Its IMAP server."""
        return str(self.endpoint)

    @property
    def occupies(self) -> str:
        """The inbox; no mailbox has an id with a colon."""
        return f"inbox:{self.id}"

    @property
    def private(self) -> tuple[Secret | Address, ...]:
        """What must not show of it."""
        signs_in = self.credential.private if self.credential else ()
        return (self.address, *signs_in, *((self.password,) if self.password else ()))

    @property
    def names(self) -> Mapping[str, str]:
        """The things it is about, by kind."""
        return {**(self.credential.names if self.credential else {}), "inbox": self.id}

    @property
    def words(self) -> Mapping[str, str]:
        """What the steps of a cause may name: every value may be shown; the address is not among them."""
        return {**(self.credential.words if self.credential else {}), "inbox": self.id}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNetwork:
    """The network that we stand in, judged by what of `reach` (HOST:PORT each) can be reached."""

    reach: tuple[str, ...]

    @property
    def id(self) -> str:
        """There is only one."""
        return "self"

    @property
    def credential(self) -> None:
        """None: nobody signs in."""

    @property
    def chain(self) -> Mapping[Scope, str]:
        """Itself."""
        return {Scope.NETWORK: self.id}

    @property
    def own_scope(self) -> Scope:
        """What `target` means in a row of the table of causes."""
        return Scope.NETWORK

    @property
    def connects_to(self) -> str:
        """All of it."""
        return ", ".join(self.reach)

    @property
    def occupies(self) -> None:
        """Nothing."""

    @property
    def private(self) -> tuple[Secret | Address, ...]:
        """Nothing of it is private."""
        return ()

    @property
    def names(self) -> Mapping[str, str]:
        """Nothing that the configuration names."""
        return {}

    @property
    def words(self) -> Mapping[str, str]:
        """What the steps of a cause may name."""
        return {"reach": self.connects_to}


Target = Credential | Mailbox | Route | Inbox | OwnNetwork


def subject_of(target: Target, scope: Scope, evidence: Evidence) -> Subject:
    """The instance of `scope` that a cause reaches, seen from a target.

    An endpoint is the one the evidence comes from: the authority for `oauth`, the IMAP or POP server of the cloud for
    what they said to a mailbox, else the host that the target connects to. A scope that the target has no instance of
    (the mailbox of a credential) falls back on the target itself.
    """
    if scope in {Scope.MONITOR, Scope.NETWORK}:
        return Subject(scope, "self")
    if scope is Scope.ENDPOINT:
        return Subject(scope, str(endpoint_behind(target, evidence.protocol) or target.connects_to))
    chain = target.chain
    if scope not in chain:
        scope = target.own_scope
    return Subject(scope, chain[scope])


# What s_client(1) calls the protocols; the authority's is never begun in clear text.
_AT_OPENSSL = {Protocol.SMTP: "smtp", Protocol.IMAP: "imap", Protocol.POP: "pop3", Protocol.OAUTH: ""}


def words_of(target: Target, evidence: Evidence) -> Mapping[str, str]:
    """What the steps of a cause may name: the target's words and the endpoint that the evidence comes from.

    `host` and `port` are that endpoint's, `connect` is what `openssl s_client` wants to be told of it.
    """
    endpoint = endpoint_behind(target, evidence.protocol)
    if endpoint is None:
        return target.words
    starttls = f" -starttls {_AT_OPENSSL[evidence.protocol]}" if endpoint.tls is TlsMode.STARTTLS else ""
    return {
        **target.words,
        "host": endpoint.host,
        "port": str(endpoint.port),
        "connect": f"-connect {endpoint}{starttls}",
    }


def endpoint_behind(target: Target, protocol: Protocol) -> Endpoint | None:
    """The endpoint that speaks this protocol to a target; None for our own network, which is no single endpoint."""
    if isinstance(target, OwnNetwork):
        return None
    if isinstance(target, Credential):
        return target.cloud.authority_endpoint
    if protocol is Protocol.OAUTH and target.credential is not None:
        return target.credential.cloud.authority_endpoint
    if isinstance(target, Mailbox):
        other = {Protocol.IMAP: target.cloud.imap, Protocol.POP: target.cloud.pop}.get(protocol)
        return other or target.endpoint
    return target.endpoint
