"""A process that is there to be killed: it forks children that use one refresh token after the other, without a pause."""

from __future__ import annotations

import asyncio
import os
import sys

from checks.core.clock import SystemClock
from checks.core.cloud import Cloud, Endpoint
from checks.core.material import RefreshToken
from checks.core.secret import Redactor
from checks.core.target import App, Credential, Tenant
from checks.core.trace import Trace
from checks.wire.kit import open_kit


async def rotate(credential: Credential) -> None:
    """Use and replace the refresh token for ever."""
    clock = SystemClock()
    async with open_kit(clock=clock) as kit:
        while True:
            await kit.tokens.fresh(credential, Trace(clock, Redactor()))


def main(lives: int, file: str, authority: str, ca_file: str, tenant_id: str, client_id: str, scope: str) -> None:
    """Say the id of each child on a line, and go on with the next when it is gone."""
    cloud = Cloud(name="lab", authority=authority, scope="", smtp=Endpoint(host="localhost", port=25), ca_file=ca_file)
    app = App(id="desk-mailer", tenant=Tenant(name="contoso", tenant_id=tenant_id, cloud=cloud), client_id=client_id)
    credential = Credential(app=app, material=RefreshToken(file=file, scopes=(scope,)))
    for _ in range(lives):
        child = os.fork()
        if child == 0:
            asyncio.run(rotate(credential))
        print(child, flush=True)  # noqa: T201 - who shall be killed
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
