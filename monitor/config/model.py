"""The configuration file's shape. Field descriptions are the users' documentation; unknown keys are errors."""

from __future__ import annotations

import ipaddress
import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from checks.core.cloud import Family, TlsMode
from monitor.model import Importance

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_REFERENCE = re.compile(r"(env|file|cmd):.+", re.DOTALL)
DURATION_PATTERN = f"^{_DURATION.pattern}$"
REFERENCE_PATTERN = f"^{_REFERENCE.pattern}$"
# The id is a label of metrics and part of file names and URLs.
ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def seconds(value: Any) -> float:
    """A duration as the configuration writes it, in seconds. Raises ValueError."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a duration such as 30s, 5m, 1h or 60d")
    return float(found[1]) * _UNITS[found[2]]


def _reference(value: Any) -> str:
    if not (isinstance(value, str) and _REFERENCE.fullmatch(value)):
        # The value itself is not repeated: it may be the secret.
        raise ValueError("expected a reference: env:NAME, file:PATH or cmd:COMMAND; secrets do not stand in this file")
    return value


def _ip(value: Any) -> str:
    try:
        return str(ipaddress.ip_address(value if isinstance(value, str) else ""))
    except ValueError:
        raise ValueError("expected an IPv4 or IPv6 address, in quotes") from None


Seconds = Annotated[float, BeforeValidator(seconds), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})]
Reference = Annotated[
    str, BeforeValidator(_reference), WithJsonSchema({"type": "string", "pattern": REFERENCE_PATTERN})
]
Id = Annotated[str, StringConstraints(pattern=f"^{ID.pattern}$")]
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
    passphrase: Reference | None = Field(None, description="Of the private key, if it is encrypted.")


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

    secret: Reference | None = Field(None, description="The value of a client secret, not its ID.")
    certificate: Certificate | None = Field(None, description="A certificate that is registered with the app.")
    federated: Federated | None = Field(None, description="Another issuer's token that the app trusts.")
    managed_identity: ManagedIdentity | None = Field(None, description="The identity of the Azure host we run on.")
    refresh_token: RefreshToken | None = Field(None, description="What a user consented to: a delegated app.")
    expires: date | None = Field(
        None, description="The day it ends, where no directory may be asked.", examples=["2027-03-01"]
    )


class Owner(Part):
    """Who looks after an app: shown in notices."""

    team: str = Field("", description="The name of a team.", examples=["finance"])
    contact: str = Field("", description="How it is reached.", examples=["#finance-it"])


class App(Part):
    """An app registration."""

    tenant: str = Field(description="A name from `tenants`.", examples=["contoso"])
    client_id: ClientId = Field(
        description="The application (client) ID.", examples=["3fd2b7a9-0000-4000-8000-000000000001"]
    )
    owner: Owner = Field(Owner(), description="Who looks after it: shown in notices.")
    credential: Credential = Field(description="What it signs in with.", examples=[{"secret": "env:APP_SECRET"}])


class Endpoint(Part):
    """An SMTP server."""

    host: Host = Field(description="Name or IP address.", examples=["smtp.office365.com"])
    port: Port = Field(description="587 with STARTTLS, or 465 with implicit TLS.", examples=[587])
    tls: TlsMode = Field(TlsMode.STARTTLS, description="How the connection becomes TLS.")
    ca_file: str | None = Field(None, description="A private CA, PEM; without it the system's CAs are trusted.")


class ReadingEndpoint(Endpoint):
    """An IMAP or POP server."""

    port: Port = Field(description="993 for IMAP, 995 for POP.", examples=[993])
    tls: TlsMode = Field(TlsMode.IMPLICIT, description="How the connection becomes TLS.")


class WatchedEndpoint(Endpoint):
    """An endpoint that is watched beside those of the clouds. It need not offer XOAUTH2 where nobody signs in with a token."""

    protocol: Literal["smtp", "imap", "pop"] = Field("smtp", description="What it speaks.")
    ip: IpAddress | None = Field(None, description="Pins one address of the host.")


class Cloud(Part):
    """A cloud. What is left out is that of the built-in cloud of the same name, else that of the public one.

    One of your own that names no IMAP or POP server, or no Graph, has none.
    """

    authority: HttpsUrl | None = Field(None, description="Where tokens come from: https://HOST.")
    scope: str | None = Field(None, description="What app-only tokens are asked for.")
    smtp: Endpoint | None = Field(None, description="Its SMTP server.")
    imap: ReadingEndpoint | None = Field(None, description="Its IMAP server.")
    pop: ReadingEndpoint | None = Field(None, description="Its POP server.")
    graph: HttpsUrl | None = Field(None, description="Microsoft Graph: https://HOST.")
    alternatives: dict[Id, Endpoint] = Field(
        default_factory=dict, description="Further SMTP endpoints that a mailbox may choose with `smtp`."
    )
    ca_file: str | None = Field(None, description="A private CA for all hosts of the cloud, PEM.")


OwnChecks = Annotated[
    dict[str, dict[str, Any] | Literal[False]],
    Field(
        description="By the name of the check: what is set for it, {} for what holds elsewhere, false to switch it off.",
        examples=[{"smtp_auth": {"interval": "5m"}, "canary": {"to": ["canary-inbox"]}}],
    ),
]
UsualChecks = Annotated[
    dict[str, dict[str, Any]],
    Field(
        description="By the name of the check: how it runs where nothing nearer says else; this switches none on.",
        examples=[{"smtp_auth": {"interval": "5m", "timeout": "30s"}}],
    ),
]


class Mailbox(Part):
    """An address that an app sends as.

    A check runs as the mailbox says; what it leaves out, as its group says, then its importance, then the defaults.
    """

    address: MailAddress = Field(description="The address.", examples=["billing@contoso.com"])
    app: str = Field(description="A name from `apps`.", examples=["billing-mailer"])
    group: str = Field("", description="A name from `groups`: what it says holds for this mailbox.")
    smtp: str = Field("", description="An alternative SMTP endpoint of its cloud, such as `hve`.")
    importance: Importance | None = Field(
        None, description="What it is worth, in an incident's severity; without it that of its group, else `normal`."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description="What else is to be known of it; its own word before its group's."
    )
    send_as: list[MailAddress] = Field(
        default_factory=list, description="Further addresses that it sends as: for the record, no check uses them yet."
    )
    checks: OwnChecks = Field(default_factory=dict)


class Group(Part):
    """What holds for all mailboxes that name it as their `group`."""

    importance: Importance | None = Field(None, description="What its mailboxes are worth; without it `normal`.")
    labels: dict[str, str] = Field(default_factory=dict, description="What else is to be known of its mailboxes.")
    checks: OwnChecks = Field(default_factory=dict)


class Inbox(Part):
    """Where canaries are sent, and, with an app or a password, looked for."""

    address: MailAddress = Field(description="The address.", examples=["canary@contoso.com"])
    app: str | None = Field(None, description="The app that reads it.")
    password: Reference | None = Field(None, description="Of a foreign inbox, instead of an app.")
    imap: ReadingEndpoint | None = Field(None, description="Its IMAP server; without it that of the app's cloud.")
    read_with: Literal["imap"] = Field("imap", description="How it is read.")


class Fleet(Part):
    """Mailboxes in a file of their own: CSV, or YAML (.yaml, .yml) in the shape of `mailboxes`.

    The first line of a CSV names its columns, in any order: `id`, `address`, `app`, and if wanted `group`, `smtp`,
    `importance`, `send_as` (addresses parted by spaces), `label.NAME` for each label, and `checks`: words parted by
    spaces, each one of `NAME` (the check runs), `NAME=off` (it does not) and `NAME.KEY=VALUE`, where `+` parts the
    inboxes of `to`, as in `smtp_auth=off canary.interval=30m canary.to=canary-inbox+outside`. An empty cell says nothing.
    Commas, semicolons and tabs part cells, whichever the first line has.
    """

    file: str = Field(description="Relative to this file. Re-read when it changes.", examples=["fleet.csv"])
    on_bad_row: Literal["keep_rest", "refuse"] = Field(
        "keep_rest", description="Whether the good rows are used beside bad ones, which are reported."
    )


class Canaries(Part):
    """When a canary that was not seen is late, and when it is lost."""

    late_after: Annotated[Seconds, Field(gt=0)] = Field(300.0, description="After it was sent.")
    lost_after: Annotated[Seconds, Field(gt=0)] = Field(3600.0, description="After it was sent.")


class Usual(Part):
    """What holds where nothing nearer says else."""

    checks: UsualChecks = Field(default_factory=dict)


class Defaults(Usual):
    """What holds for every target that says nothing else."""

    importance: dict[Importance, Usual] = Field(
        default_factory=dict,
        description="What holds for the mailboxes of an importance, before the defaults for all.",
        examples=[{"critical": {"checks": {"smtp_auth": {"interval": "1m"}}}}],
    )


class Channel(Part):
    """A way to reach people."""

    url: Reference = Field(
        description="Any Apprise URL, by reference: such URLs hold secrets.", examples=["env:CHAT_URL"]
    )


class Policy(Part):
    """When a watch fires and recovers, and how often an open incident is told again."""

    fail_after: Annotated[int, Field(ge=1, le=100)] = Field(2, description="Failed runs in a row until it fires.")
    recover_after: Annotated[int, Field(ge=1, le=100)] = Field(2, description="Good runs in a row until it is over.")
    remind_every: Seconds = Field(4 * 3600.0, description="How often an open incident is told again; 0s: never.")


class Alerts(Part):
    """Who is told, and when."""

    channels: dict[Id, Channel] = Field(default_factory=dict, description="Ways to reach people, by a name of yours.")
    policy: Policy = Field(Policy(), description="When people are told.")


class Privacy(Part):
    """Where addresses are shown; elsewhere the mailbox's id stands for it."""

    addresses: list[Literal["cli", "notices"]] = Field(
        ["cli", "notices"], description="Where addresses are shown: by commands, in notices."
    )
    retention: Annotated[Seconds, Field(ge=86400)] = Field(
        30 * 86400.0,
        description="How long incidents are kept after their end, notices and canaries after their beginning.",
    )


class Web(Part):
    """The HTTP server."""

    listen: HostPort = Field("127.0.0.1:9925", description="HOST:PORT, where metrics and health are served.")


class Network(Part):
    """How we reach others, and how we appear."""

    ehlo_name: str = Field("", description="What we call ourselves to mail servers; empty: the name of this host.")
    proxy: Reference | None = Field(None, description="An HTTP proxy for what goes over HTTPS: tokens, alerts.")
    family: Family = Field(Family.ANY, description="Which addresses of hosts are used: all, or those of one kind.")
    source_address: IpAddress | None = Field(None, description="The local address that mail probes start from.")
    reach: list[HostPort] = Field(
        default_factory=list, description="Hosts that must be reachable, or else our own network is what failed."
    )


class File(Part):
    """The configuration of mailcanary. Durations: 30s, 5m, 1h, 60d. Secrets only by reference."""

    tenants: dict[Id, Tenant] = Field(description="Entra tenants, by a name of yours.", examples=[{}])
    apps: dict[Id, App] = Field(description="App registrations, by a name of yours.", examples=[{}])
    mailboxes: dict[Id, Mailbox] = Field(
        default_factory=dict, description="What is watched, by a short id that metrics show; the address they never do."
    )
    mailboxes_from: list[Fleet] = Field(default_factory=list, description="More mailboxes, in files of their own.")
    groups: dict[Id, Group] = Field(
        default_factory=dict, description="What mailboxes have in common, by a name that they give as `group`."
    )
    endpoints: dict[Id, WatchedEndpoint] = Field(
        default_factory=dict, description="Servers that are watched beside those that mailboxes and inboxes use."
    )
    inboxes: dict[Id, Inbox] = Field(
        default_factory=dict, description="Where canaries are sent and looked for, by a name of yours."
    )
    canaries: Canaries = Field(Canaries(), description="When a canary is late, and when it is lost.")
    defaults: Defaults = Field(Defaults(), description="What holds for every target that says nothing else.")
    clouds: dict[Id, Cloud] = Field(
        default_factory=dict,
        description="Clouds of your own, and what is otherwise in `public`, `usgov`, `usgov-dod` and `china`.",
    )
    alerts: Alerts = Field(Alerts(), description="Who is told, and when.")
    privacy: Privacy = Field(Privacy(), description="Where addresses are shown, and how long what was seen is kept.")
    network: Network = Field(Network(), description="How we reach others, and how we appear.")
    store: Annotated[str, StringConstraints(pattern=r"^sqlite:(///.+|[^/].*)$")] = Field(
        "sqlite:mailcanary.db",
        description="`sqlite:///absolute/path`, or `sqlite:path` beside this file.",
    )
    web: Web = Field(Web(), description="The HTTP server.")


class CheckTimes(Part):
    """What can be said of every check."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    interval: Annotated[Seconds, Field(ge=1)] | None = Field(None, description="How often it runs.")
    timeout: Annotated[Seconds, Field(gt=0)] | None = Field(None, description="How long it may take, interval at most.")
