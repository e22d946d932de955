"""kill -9 in the middle of using refresh tokens: the file holds a usable one, always."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from checks.core.model import Outcome
from checks.wire.refresh import load
from monitor.sim.contoso import DESK_ID, TENANT_ID
from tests.checks import apps

if TYPE_CHECKING:
    from tests.checks.lab import Lab

PROOFS = int(os.environ.get("MAILCANARY_PROOFS", "1"))
LIVES = max(40, PROOFS)
PATIENCE = 30.0  # seconds for what takes milliseconds
# Seconds that a process lives after its first token: one takes some milliseconds, so any step may be its last.
LIFE = 0.0, 0.03


async def test_a_killed_process_leaves_a_usable_token(lab: Lab, tmp_path: Path) -> None:
    """However often a process is killed while it uses and replaces a refresh token, the file is whole and the token good."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    office, rng = lab.office, random.Random(7)  # noqa: S311 - when to kill, no secret
    arguments = (file, office.authority_url, office.ca_file, TENANT_ID, DESK_ID, apps.SEND)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.checks.rotating", str(LIVES), *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        for _ in range(LIVES):
            child = int(await process.stdout.readline())
            before = load(file).token
            async with asyncio.timeout(PATIENCE):
                while load(file).token == before:  # whole at every moment, also for whoever reads in between
                    await asyncio.sleep(0.001)
            await asyncio.sleep(rng.uniform(*LIFE))
            os.kill(child, signal.SIGKILL)
            assert office.consents.knows(load(file).token.reveal())
        assert 0 == await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
    assert Outcome.PASS is (await lab.run("token", credential)).outcome
    assert len(list(tmp_path.glob(".token.*"))) <= LIVES
