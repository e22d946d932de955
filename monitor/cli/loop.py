"""The event loop that commands run on: uvloop where it is installed, else asyncio with its appetite curbed."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")

INTERRUPTED = 130  # what shells report of a process that Ctrl-C ended: 128 and the number of SIGINT
# asyncio sets 256 KiB aside for every TLS connection; a reply of SMTP or Entra ID has 4 KB at the most.
_TLS_BUFFER = 16 * 1024


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, as `asyncio.run` does. Ctrl-C, where the coroutine does not see to it, ends the process."""
    new_event_loop: Callable[[], asyncio.AbstractEventLoop]
    try:
        from uvloop import new_event_loop
    except ImportError:
        asyncio.sslproto.SSLProtocol.max_size = _TLS_BUFFER
        new_event_loop = asyncio.new_event_loop
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(main)
    except KeyboardInterrupt:
        end(INTERRUPTED)


def end(status: int) -> NoReturn:
    """End the process now. A thread that hangs in a look-up of the system's resolver can not be stopped, only left."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more, or the disk is full: the status is what counts
            stream.flush()
    os._exit(status)
