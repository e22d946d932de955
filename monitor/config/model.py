"""The configuration file's shape. Field descriptions are the users' documentation; unknown keys are errors."""

from __future__ import annotations

import ipaddress
import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from checks.core.target import Family, TlsMode
from monitor.model import Importance

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")


def seconds(value: Any) -> float:
    """A duration as the configuration writes it, in seconds. Raises ValueError."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a duration such as 30s, 5m, 1h or 60d")
    return float(found[1]) * _UNITS[found[2]]


def _reference(value: Any) -> str:
    if not (isinstance(value, str) and re.fullmatch(r"(env|file|cmd):.+", value, re.DOTALL)):
        # The value itself is not repeated: it may be the secret.
        raise ValueError("expected a reference: env:NAME, file:PATH or cmd:COMMAND; secrets do not stand in this file")
    return value


def _ip(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        raise ValueError("expected an IPv4 or IPv6 address, in quotes") from None


Seconds = Annotated[float, BeforeValidator(seconds)]
Reference = Annotated[str, BeforeValidator(_reference)]
# The id is a label of metrics and part of file names and URLs.
Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
# RFC 5321, section 4.1.2, as far as addresses of Exchange Online use it.
MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s<>]+@[^@\s<>]+$", max_length=320)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:._-]+$", min_length=1)]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[^/\s?#]+/?$")]
ClientId = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f-]{36}$")]
HostPort = Annotated[str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):\d{1,5}$")]
IpAddress = Annotated[str, BeforeValidator(_ip)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Part(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Tenant(Part):
    """An Entra tenant."""

    tenant_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+$")] = Field(
        description="GUID or domain of the tenant.", examples=["contoso.onmicrosoft.com"]
    )
    cloud: str = Field("public", description="`public`, or a name from `clouds`.")


class Certificate(Part):
    """A certificate with its private key."""

    file: str = Field(description="PEM with key and certificate, or PFX (.pfx, .p12).", examples=["client.pfx"])
    passphrase: Reference | None = None


class Federated(Part):
    """Another issuer's token that Entra ID trusts (workload identity federation)."""

    token_file: str = Field(
        description="The file that holds it; it is read anew for each token.",
        examples=["/var/run/secrets/azure/tokens/azure-identity-token"],
    )


class ManagedIdentity(Part):
    """The identity of the Azure host that mailcanary runs on."""

    client_id: ClientId | None = Field(
        None, description="Of a user-assigned identity; without it the system-assigned one."
    )


class RefreshToken(Part):
    """A delegated app's refresh token, made by `mailcanary login APP`."""

    file: str = Field(description="Where it is kept; each renewed one is written back.", examples=["hr.token"])
    scopes: list[str] = Field(
        default_factory=lambda: ["https://outlook.office.com/SMTP.Send"],
        description="What the user consented to; `offline_access` is added.",
    )
    secret: Reference | None = Field(None, description="The app's own secret, if it is a confidential client.")


class Credential(Part):
    """One credential of an app: exactly one of its kinds."""

    secret: Reference | None = None
    certificate: Certificate | None = None
    federated: Federated | None = None
    managed_identity: ManagedIdentity | None = None
    refresh_token: RefreshToken | None = None
    expires: date | None = Field(None, description="A declared end date.")


class Owner(Part):
    """Who looks after an app: shown in notices."""

    team: str = ""
    contact: str = ""


class App(Part):
    """An app registration."""

    tenant: str = Field(description="The name of a tenant above.", examples=["contoso"])
    client_id: ClientId = Field(
        description="The application (client) ID.", examples=["3fd2b7a9-0000-4000-8000-000000000001"]
    )
    owner: Owner = Owner()
    credential: Credential = Field(description="What it signs in with.", examples=[{"secret": "env:APP_SECRET"}])


class Endpoint(Part):
    """An SMTP server."""

    host: Host = Field(description="Name or IP address.", examples=["smtp.office365.com"])
    port: Port = Field(description="587 with STARTTLS, or 465 with implicit TLS.", examples=[587])
    tls: TlsMode = TlsMode.STARTTLS
    ca_file: str | None = Field(None, description="A private CA, PEM; without it the system's CAs are trusted.")


class ReadingEndpoint(Endpoint):
    """An IMAP or POP server."""

    port: Port = Field(description="993 for IMAP, 995 for POP.", examples=[993])
    tls: TlsMode = TlsMode.IMPLICIT


class WatchedEndpoint(Endpoint):
    """An endpoint that is watched beside those of the clouds."""

    protocol: Literal["smtp", "imap", "pop"] = "smtp"
    ip: IpAddress | None = Field(None, description="Pins one address of the host.")


class Cloud(Part):
    """A cloud. What is left out is that of the built-in cloud of the same name, else that of the public one."""

    authority: HttpsUrl | None = Field(None, description="Where tokens come from: https://HOST.")
    scope: str | None = Field(None, description="What app-only tokens are asked for.")
    smtp: Endpoint | None = None
    imap: ReadingEndpoint | None = None
    pop: ReadingEndpoint | None = None
    graph: HttpsUrl | None = None
    alternatives: dict[Id, Endpoint] = Field(
        default_factory=dict, description="Further SMTP endpoints that a mailbox may choose with `smtp`."
    )
    ca_file: str | None = Field(None, description="A private CA for all hosts of the cloud, PEM.")


class Mailbox(Part):
    """An address that an app sends as."""

    address: MailAddress = Field(description="The address.", examples=["billing@contoso.com"])
    app: str = Field(description="The name of an app above.", examples=["billing-mailer"])
    smtp: str = Field("", description="An alternative SMTP endpoint of its cloud, such as `hve`.")
    importance: Importance = Importance.NORMAL
    labels: dict[str, str] = Field(default_factory=dict)
    send_as: list[MailAddress] = Field(default_factory=list)
    checks: dict[str, dict[str, Any] | Literal[False]] = Field(default_factory=dict)


class Inbox(Part):
    """Where canaries are sent, and, with an app or a password, looked for."""

    address: MailAddress = Field(description="The address.", examples=["canary@contoso.com"])
    app: str | None = Field(None, description="The app that reads it.")
    password: Reference | None = Field(None, description="Of a foreign inbox, instead of an app.")
    imap: ReadingEndpoint | None = Field(None, description="Its IMAP server; without it that of the app's cloud.")
    read_with: Literal["imap"] = "imap"


class Fleet(Part):
    """Mailboxes in a file of their own: CSV, or YAML in the shape of `mailboxes`."""

    file: str = Field(description="Relative to this file. Re-read when it changes.", examples=["fleet.csv"])
    on_bad_row: Literal["keep_rest", "refuse"] = Field(
        "keep_rest", description="Whether the good rows are used beside bad ones, which are reported."
    )


class Canaries(Part):
    """When a canary that was not seen is late, and when it is lost."""

    late_after: Annotated[Seconds, Field(gt=0)] = 300.0
    lost_after: Annotated[Seconds, Field(gt=0)] = 3600.0


class Defaults(Part):
    """What holds for every target that says nothing else."""

    checks: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Channel(Part):
    """A way to reach people."""

    url: Reference = Field(
        description="Any Apprise URL, by reference: such URLs hold secrets.", examples=["env:CHAT_URL"]
    )


class Policy(Part):
    """When a watch fires and recovers, and how often an open incident is told again."""

    fail_after: Annotated[int, Field(ge=1, le=100)] = 2
    recover_after: Annotated[int, Field(ge=1, le=100)] = 2
    remind_every: Seconds = 4 * 3600.0


class Alerts(Part):
    """Who is told, and when."""

    channels: dict[Id, Channel] = Field(default_factory=dict)
    policy: Policy = Policy()


class Privacy(Part):
    """Where addresses are shown; elsewhere the mailbox's id stands for it."""

    addresses: list[Literal["cli", "notices"]] = ["cli", "notices"]
    retention: Annotated[Seconds, Field(ge=86400)] = Field(
        30 * 86400.0, description="How long incidents and notices are kept after their end."
    )


class Web(Part):
    """The HTTP server."""

    listen: HostPort = "127.0.0.1:9925"


class Network(Part):
    """How we reach others, and how we appear."""

    ehlo_name: str = ""
    proxy: Reference | None = Field(None, description="An HTTP proxy for what goes over HTTPS: tokens, alerts.")
    family: Family = Family.ANY
    source_address: IpAddress | None = Field(None, description="The local address that mail probes start from.")
    reach: list[HostPort] = Field(
        default_factory=list, description="Hosts that must be reachable, or else our own network is what failed."
    )


class File(Part):
    """The whole file."""

    tenants: dict[Id, Tenant] = Field(description="Entra tenants, by a name of yours.", examples=[{}])
    apps: dict[Id, App] = Field(description="App registrations, by a name of yours.", examples=[{}])
    mailboxes: dict[Id, Mailbox] = Field(default_factory=dict)
    mailboxes_from: list[Fleet] = Field(default_factory=list)
    endpoints: dict[Id, WatchedEndpoint] = Field(default_factory=dict)
    inboxes: dict[Id, Inbox] = Field(default_factory=dict)
    canaries: Canaries = Canaries()
    defaults: Defaults = Defaults()
    clouds: dict[Id, Cloud] = Field(default_factory=dict)
    alerts: Alerts = Alerts()
    privacy: Privacy = Privacy()
    network: Network = Network()
    store: Annotated[str, StringConstraints(pattern=r"^sqlite:(///.+|[^/].*)$")] = Field(
        "sqlite:mailcanary.db",
        description="`sqlite:///absolute/path`, or `sqlite:path` beside this file.",
    )
    web: Web = Web()


class CheckTimes(Part):
    """What can be said of every check."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    interval: Annotated[Seconds, Field(ge=1)] | None = None
    timeout: Annotated[Seconds, Field(gt=0)] | None = None
