"""The clouds that are known, and what a file makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from checks.core.cloud import Cloud, Endpoint, TlsMode
from monitor.config import model
from monitor.config.context import Context
from monitor.config.places import Path as KeyPath

_OUTLOOK = "outlook.office365.com"

# Where each value is known from: docs of Microsoft ("National clouds", "Authenticate an IMAP, POP or SMTP connection using
# OAuth", "POP, IMAP and SMTP settings") for authorities and for the public cloud; for the mail hosts and scopes of the other
# clouds no page of Microsoft was found: they are what EmailEngine (lib/oauth/outlook.js) and sasl-xoauth2 (README) use.
BUILT_IN: Mapping[str, Cloud] = {
    "public": Cloud(
        name="public",
        authority="https://login.microsoftonline.com",
        scope="https://outlook.office365.com/.default",
        smtp=Endpoint(host="smtp.office365.com", port=587),
        imap=Endpoint(host=_OUTLOOK, port=993, tls=TlsMode.IMPLICIT),
        pop=Endpoint(host=_OUTLOOK, port=995, tls=TlsMode.IMPLICIT),
        graph="https://graph.microsoft.com",
        # "High Volume Email for Microsoft 365"; the opt-in host for old TLS is in "Opt in to the Exchange Online endpoint
        # for legacy TLS clients".
        alternatives=(
            ("hve", Endpoint(host="smtp-hve.office365.com", port=587)),
            ("legacy", Endpoint(host="smtp-legacy.office365.com", port=587)),
        ),
    ),
    "usgov": Cloud(
        name="usgov",
        authority="https://login.microsoftonline.us",
        scope="https://outlook.office365.us/.default",
        smtp=Endpoint(host="smtp.office365.us", port=587),
        imap=Endpoint(host="outlook.office365.us", port=993, tls=TlsMode.IMPLICIT),
        pop=Endpoint(host="outlook.office365.us", port=995, tls=TlsMode.IMPLICIT),
        graph="https://graph.microsoft.us",
    ),
    "usgov-dod": Cloud(
        name="usgov-dod",
        authority="https://login.microsoftonline.us",
        scope="https://outlook.office365.us/.default",
        smtp=Endpoint(host="outlook-dod.office365.us", port=587),
        imap=Endpoint(host="outlook-dod.office365.us", port=993, tls=TlsMode.IMPLICIT),
        pop=Endpoint(host="outlook-dod.office365.us", port=995, tls=TlsMode.IMPLICIT),
        graph="https://dod-graph.microsoft.us",
    ),
    "china": Cloud(
        name="china",
        authority="https://login.partner.microsoftonline.cn",
        scope="https://partner.outlook.cn/.default",
        smtp=Endpoint(host="partner.outlook.cn", port=587),
        imap=Endpoint(host="partner.outlook.cn", port=993, tls=TlsMode.IMPLICIT),
        pop=Endpoint(host="partner.outlook.cn", port=995, tls=TlsMode.IMPLICIT),
        graph="https://microsoftgraph.chinacloudapi.cn",
    ),
}


def clouds_of(file: model.File, context: Context) -> dict[str, Cloud]:
    """Every cloud by name: the built-in ones, changed and joined by those of the file."""
    return {**BUILT_IN, **{name: _cloud(name, said, context) for name, said in file.clouds.items()}}


def _cloud(name: str, said: model.Cloud, context: Context) -> Cloud:
    """A cloud as the file has it. One of its own has authority, scope and SMTP server of the public one, but nothing else that it does not name."""
    where = ("clouds", name)
    base = BUILT_IN.get(name, replace(BUILT_IN["public"], imap=None, pop=None, graph=None, alternatives=()))
    ca_file = context.existing(said.ca_file, (*where, "ca_file"))

    def stated(endpoint: model.Endpoint, *key: str) -> Endpoint:
        return endpoint_of(endpoint, (*where, *key), context, ca_file)

    def known(endpoint: Endpoint) -> Endpoint:
        return replace(endpoint, ca_file=ca_file)

    return Cloud(
        name=name,
        authority=(said.authority or base.authority).rstrip("/"),
        scope=said.scope or base.scope,
        smtp=stated(said.smtp, "smtp") if said.smtp else known(base.smtp),
        imap=stated(said.imap, "imap") if said.imap else base.imap and known(base.imap),
        pop=stated(said.pop, "pop") if said.pop else base.pop and known(base.pop),
        graph=(said.graph or base.graph or "").rstrip("/") or None,
        alternatives=(
            *((key, known(endpoint)) for key, endpoint in base.alternatives if key not in said.alternatives),
            *((key, stated(endpoint, "alternatives", key)) for key, endpoint in said.alternatives.items()),
        ),
        ca_file=ca_file,
    )


def endpoint_of(said: model.Endpoint, where: KeyPath, context: Context, ca_file: str | None = None) -> Endpoint:
    """An endpoint; `ca_file` is trusted where it names no CA of its own."""
    own = context.existing(said.ca_file, (*where, "ca_file"))
    return Endpoint(host=said.host, port=said.port, tls=said.tls, ca_file=own or ca_file)
