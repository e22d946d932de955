"""On what a run of the bench was measured: facts without which its numbers mean nothing, and nothing that names the host."""

from __future__ import annotations

import os
import platform
import re
import ssl
from importlib import metadata
from pathlib import Path

from monitor.version import VERSION


def facts() -> dict[str, str]:
    """What there is to say, in words."""
    return {
        "mailcanary": VERSION,
        "CPU": f"{_first('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "memory": _first("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "OpenSSL of Python": ssl.OPENSSL_VERSION,
        "event loop": f"uvloop {metadata.version('uvloop')}",
        "load before (1, 5, 15 min)": ", ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _first(file: str, key: str) -> str:
    """A line of proc(5); not every machine has it."""
    path = Path(file)
    found = re.search(rf"^{key}\s*:\s*(.+)$", path.read_text() if path.exists() else "", re.MULTILINE)
    return found[1] if found else "unknown"
