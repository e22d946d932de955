"""The embedded Microsoft 365 in a process of its own: `python -m tests.bench.simulator DIRECTORY`.

Writes into the directory `office.json`, which says where its servers are, and runs until it is killed.
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

from checks.core.material import ClientSecret
from checks.core.secret import Address, Secret
from checks.core.target import App, Cloud, Credential, Endpoint, Mailbox, Tenant
from monitor.sim import Microsoft365, contoso
from monitor.sim.contoso import BILLING_ID, BILLING_SECRET, DOMAIN, TENANT_ID
from tests.bench.process import started
from tests.peers.process import temporary_home

if TYPE_CHECKING:
    from collections.abc import Iterator

MAILBOXES = 1000  # box0001 to box1000
SCOPE = "https://outlook.office365.com/.default"


@dataclass(frozen=True, slots=True)
class Office:
    """Where a running simulator is."""

    authority: str
    smtp_port: int
    ca_file: str

    def mailbox(self, number: int = 1) -> Mailbox:
        """One of the thousand, as a target of the checks."""
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


@contextmanager
def running_office() -> Iterator[Office]:
    """A simulator with a thousand mailboxes, killed at the end."""
    with temporary_home("office") as home:
        places = home / "office.json"
        with started(
            [sys.executable, "-m", "tests.bench.simulator", home], log=home / "log", ready=lambda _: places.exists()
        ):
            yield Office(**json.loads(places.read_text()))


async def _serve(directory: Path) -> None:
    async with Microsoft365(directory, contoso(more_mailboxes=MAILBOXES)) as office:
        places = {"authority": office.authority_url, "smtp_port": office.smtp_port, "ca_file": str(office.ca_file)}
        (directory / "writing").write_text(json.dumps(places))
        (directory / "writing").rename(directory / "office.json")
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1])))
