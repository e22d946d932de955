"""The configuration file's shape. Field descriptions are the users' documentation; unknown keys are errors."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from checks.core.target import TlsMode
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


Seconds = Annotated[float, BeforeValidator(seconds)]
Reference = Annotated[str, BeforeValidator(_reference)]
# The id is a label of metrics and part of file names and URLs.
Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
# RFC 5321, section 4.1.2, as far as addresses of Exchange Online use it.
MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s<>]+@[^@\s<>]+$", max_length=320)]
Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:._-]+$", min_length=1)]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[^/\s?#]+/?$")]
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


class Credential(Part):
    """One credential of an app: a secret or a certificate."""

    secret: Reference | None = None
    certificate: Certificate | None = None
    expires: date | None = Field(None, description="A declared end date.")


class Owner(Part):
    """Who looks after an app: shown in notices."""

    team: str = ""
    contact: str = ""


class App(Part):
    """An app registration."""

    tenant: str = Field(description="The name of a tenant above.", examples=["contoso"])
    client_id: Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f-]{36}$")] = Field(
        description="The application (client) ID.", examples=["3fd2b7a9-0000-4000-8000-000000000001"]
    )
    owner: Owner = Owner()
    credential: Credential = Field(description="What it signs in with.", examples=[{"secret": "env:APP_SECRET"}])


class Endpoint(Part):
    """A mail server."""

    host: Host = Field(description="Name or IP address.", examples=["smtp.office365.com"])
    port: Port = Field(description="587 with STARTTLS, or 465 with implicit TLS.", examples=[587])
    tls: TlsMode = TlsMode.STARTTLS
    ca_file: str | None = None


class Cloud(Part):
    """A custom or private cloud. What is left out is that of the public cloud."""

    authority: HttpsUrl = "https://login.microsoftonline.com"
    scope: str = "https://outlook.office365.com/.default"
    smtp: Endpoint = Endpoint(host="smtp.office365.com", port=587)
    imap: Endpoint | None = None
    graph: HttpsUrl | None = None
    ca_file: str | None = None


class Mailbox(Part):
    """An address that an app sends as."""

    address: MailAddress = Field(description="The address.", examples=["billing@contoso.com"])
    app: str = Field(description="The name of an app above.", examples=["billing-mailer"])
    importance: Importance = Importance.NORMAL
    labels: dict[str, str] = Field(default_factory=dict)
    send_as: list[MailAddress] = Field(default_factory=list)
    checks: dict[str, dict[str, Any] | Literal[False]] = Field(default_factory=dict)


class Inbox(Part):
    """Where canaries are sent."""

    address: MailAddress = Field(description="The address.", examples=["canary@contoso.com"])


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

    listen: Annotated[str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):\d{1,5}$")] = (
        "127.0.0.1:9925"
    )


class Network(Part):
    """How we appear."""

    ehlo_name: str = ""


class File(Part):
    """The whole file."""

    tenants: dict[Id, Tenant] = Field(description="Entra tenants, by a name of yours.", examples=[{}])
    apps: dict[Id, App] = Field(description="App registrations, by a name of yours.", examples=[{}])
    mailboxes: dict[Id, Mailbox] = Field(default_factory=dict)
    inboxes: dict[Id, Inbox] = Field(default_factory=dict)
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
