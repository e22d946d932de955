"""An Exchange Online that takes a while to say yes, and says of itself how long it really took.

The simulator has no such fault, so the session is exchanged for this one, in the bench's own server process only.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from monitor.sim import exchange
from monitor.sim.submission import AUTH_OK

if TYPE_CHECKING:
    from typing import TextIO


def say_yes_late(seconds: float, log: TextIO) -> None:
    """From now on every session waits before its 235, and then writes a line: mailbox, seconds since its AUTH was read.

    That ends when the reply was handed to the socket, so it is what a client that sees all and costs nothing would find.
    """

    class Late(exchange.Session):
        _asked_at = 0.0

        async def _auth(self, argument: bytes) -> None:
            self._asked_at = time.perf_counter()
            await super()._auth(argument)

        async def _say(self, phase: str, reply: str) -> bool:
            if reply is not AUTH_OK:
                return await super()._say(phase, reply)
            await asyncio.sleep(seconds)
            said = await super()._say(phase, reply)
            log.write(f"{self._named} {time.perf_counter() - self._asked_at:.6f}\n")
            return said

    exchange.Session = Late  # type: ignore[misc]  # the class itself is exchanged, on purpose
