"""Where the demo lives: a folder with a configuration as anybody would write one, aimed at the embedded Microsoft 365."""

from __future__ import annotations

import socket
from pathlib import Path

from monitor.sim import Declaration, Microsoft365, contoso
from monitor.sim.contoso import BILLING_ID, BILLING_SECRET, DOMAIN, HR_ID, READER_ID, READER_SECRET, TENANT_ID

WEB_PORT = 9925  # that of the daemon; another one if it is taken
ALERTS = "alerts"  # the inbox of the embedded Microsoft 365 that stands for a chat
_MORE = 4  # mailboxes without a name of their own, so that a failure of all looks like one
_RARE = 2  # mailboxes whose canaries get lost or go to the junk folder
_LOST_AFTER = 3  # intervals: what takes longer in the demo does not come any more

_CONFIGURATION = """\
tenants:
  contoso: {{tenant_id: {tenant}, cloud: lab}}

apps:
  billing-mailer:
    tenant: contoso
    client_id: {billing_id}
    owner: {{team: finance, contact: "#finance-it"}}
    credential: {{secret: file:billing.secret}}
  hr-portal:
    tenant: contoso
    client_id: {hr_id}
    owner: {{team: people, contact: "#people-it"}}
    credential: {{certificate: {{file: hr-portal.pem}}}}
  mailcanary-reader:
    tenant: contoso
    client_id: {reader_id}
    credential: {{secret: file:reader.secret}}

mailboxes:
  billing: {{address: billing@{domain}, app: billing-mailer, importance: critical, checks: {{canary: {{to: [canary-inbox]}}}}}}
  payslips: {{address: payslips@{domain}, app: hr-portal}}
  rosters: {{address: box0005@{domain}, app: hr-portal, checks: {{canary: {{to: [canary-inbox]}}}}}}
  holidays: {{address: box0006@{domain}, app: hr-portal, checks: {{canary: {{to: [canary-inbox]}}}}}}
{more}
inboxes:
  canary-inbox: {{address: canary@{domain}, app: mailcanary-reader}}

canaries: {{late_after: {lost_after}, lost_after: {lost_after}}}

defaults:
  checks:
    token: {{interval: {interval}, timeout: {interval}}}
    smtp_auth: {{interval: {interval}, timeout: {interval}}}
    canary: {{interval: {interval}, timeout: {interval}}}
    endpoint: {{interval: {interval}, timeout: {interval}}}
    inbox: {{interval: {interval}, timeout: {interval}}}

network: {{family: ipv4}}

clouds:
  lab:
    authority: {authority}
    smtp: {{host: localhost, port: {smtp_port}, tls: starttls}}
    imap: {{host: localhost, port: {imap_port}, tls: implicit}}
    ca_file: ca.pem

alerts:
  channels:
    chat: {{url: file:chat.url}}

store: sqlite:state.db
web: {{listen: "127.0.0.1:{web_port}"}}
"""


def declared() -> Declaration:
    """The world of the demo."""
    return contoso(more_mailboxes=_MORE + _RARE)


def furnish(office: Microsoft365, interval: float) -> Path:
    """Write the configuration and its secrets beside the CA of a running Microsoft 365; every watch runs each `interval`."""
    folder = office.directory
    more = [f"box{number:04d}" for number in range(1, _MORE + 1)]
    (folder / "billing.secret").write_text(BILLING_SECRET)
    (folder / "reader.secret").write_text(READER_SECRET)
    (folder / "chat.url").write_text(office.control_url.replace("http://", "json://") + f"/inbox/{ALERTS}")
    file = folder / "mailcanary.yaml"
    file.write_text(
        _CONFIGURATION.format(
            tenant=TENANT_ID,
            billing_id=BILLING_ID,
            hr_id=HR_ID,
            reader_id=READER_ID,
            domain=DOMAIN,
            more="".join(f"  {name}: {{address: {name}@{DOMAIN}, app: billing-mailer}}\n" for name in more),
            interval=f"{interval:g}s",
            lost_after=f"{_LOST_AFTER * interval:g}s",
            authority=office.authority_url,
            smtp_port=office.smtp_port,
            imap_port=office.imap_port,
            web_port=WEB_PORT if _is_free(WEB_PORT) else 0,
        )
    )
    return file


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
