"""The event loop that commands run on: uvloop where it is installed, else asyncio with its appetite curbed."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import os
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

# asyncio sets 256 KiB aside for every TLS connection; a reply of SMTP or Entra ID has 4 KB at the most.
_TLS_BUFFER = 16 * 1024


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, as `asyncio.run` does."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def end(status: int) -> NoReturn:
    """End the process now. A thread that hangs in a look-up of the system's resolver can not be stopped, only left."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
