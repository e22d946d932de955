"""The embedded Microsoft 365 in a process of its own: `python -m tests.bench.simulator DIRECTORY MAILBOXES DELAY`.

Writes into the directory `office.json`, which says where its servers are, and runs until it is killed. With a DELAY (in
seconds) it waits before each 235 and writes to `served` how long it really took.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from checks.core.cloud import Cloud, Endpoint
from checks.core.material import ClientSecret
from checks.core.secret import Address, Secret
from checks.core.target import App, Credential, Mailbox, Tenant
from monitor.sim import Microsoft365, contoso
from monitor.sim.contoso import BILLING_ID, BILLING_SECRET, DOMAIN, TENANT_ID
from tests.bench.late import say_yes_late
from tests.bench.process import started
from tests.peers.process import temporary_home

if TYPE_CHECKING:
    from collections.abc import Iterator

MAILBOXES = 1000
SCOPE = "https://outlook.office365.com/.default"


@dataclass(frozen=True, slots=True)
class Office:
    """Where a running simulator is, and the file in which one that says yes late tells how late."""

    pid: int
    authority: str
    smtp_port: int
    ca_file: str
    served: str

    def mailbox(self, number: int = 1) -> Mailbox:
        """One of its mailboxes (box0001, box0002, ...), as a target of the checks."""
        endpoint = Endpoint(host="localhost", port=self.smtp_port, ca_file=self.ca_file)
        cloud = Cloud(name="lab", authority=self.authority, scope=SCOPE, smtp=endpoint, ca_file=self.ca_file)
        app = App(
            id="billing-mailer",
            tenant=Tenant(name="contoso", tenant_id=TENANT_ID, cloud=cloud),
            client_id=BILLING_ID,
        )
        name = f"box{number:04d}"
        return Mailbox(
            id=name,
            address=Address(f"{name}@{DOMAIN}"),
            credential=Credential(app=app, material=ClientSecret(Secret(BILLING_SECRET))),
            endpoint=endpoint,
        )


# For what needs mailboxes as targets and never speaks to a server.
NOWHERE = Office(pid=0, authority="https://localhost:9", smtp_port=9, ca_file="ca.pem", served="")


@contextmanager
def running_office(mailboxes: int = MAILBOXES, delay: float = 0.0) -> Iterator[Office]:
    """A simulator with so many mailboxes, killed at the end; `delay`: seconds before each 235."""
    with temporary_home("office") as home:
        places = home / "office.json"
        with started(
            [sys.executable, "-m", "tests.bench.simulator", home, str(mailboxes), str(delay)],
            log=home / "log",
            ready=lambda _: places.exists(),
        ) as pid:
            yield Office(pid=pid, **json.loads(places.read_text()))


async def _serve(directory: Path, mailboxes: int) -> None:
    async with Microsoft365(directory, contoso(more_mailboxes=mailboxes)) as office:
        places = {
            "authority": office.authority_url,
            "smtp_port": office.smtp_port,
            "ca_file": str(office.ca_file),
            "served": str(directory / "served"),
        }
        (directory / "writing").write_text(json.dumps(places))
        (directory / "writing").rename(directory / "office.json")
        await asyncio.Event().wait()


def _main(home: str, mailboxes: str, delay: str) -> None:
    directory = Path(home)
    with (directory / "served").open("w", buffering=1) as served:
        if float(delay):
            say_yes_late(float(delay), served)
        uvloop.run(_serve(directory, int(mailboxes)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
