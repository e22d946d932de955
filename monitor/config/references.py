"""Secrets by reference: `env:NAME`, `file:PATH`, `cmd:COMMAND`. No message ever holds a value."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from checks.core.secret import Secret

# A key file has 4 KB; what is larger is the wrong file.
MAX_BYTES = 1024 * 1024
COMMAND_SECONDS = 10.0


def resolve(reference: str, base: Path) -> Secret:
    """The value behind a reference; relative paths start at `base`. Raises ValueError with the reason."""
    kind, _, rest = reference.partition(":")
    value = {"env": _from_environment, "cmd": _from_command}[kind](rest) if kind != "file" else _from_file(base / rest)
    value = value.rstrip("\r\n")
    if not value:
        # A command is not repeated: its arguments may be secrets.
        raise ValueError(f"{'cmd' if kind == 'cmd' else reference}: is empty")
    return Secret(value)


def _from_environment(name: str) -> str:
    if name not in os.environ:
        raise ValueError(f"env:{name}: this environment variable is not set")
    return os.environ[name]


def _from_file(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"file:{path}: is larger than {MAX_BYTES} bytes")
        return path.read_text("utf-8")
    except OSError as error:
        raise ValueError(f"file:{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"file:{path}: is not UTF-8 text") from error


def _from_command(command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the command stands in the configuration, which its owner wrote
            shlex.split(command), check=False, capture_output=True, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"cmd: cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"cmd: did not end within {COMMAND_SECONDS:g} s") from error
    if done.returncode != 0:
        raise ValueError(f"cmd: ended with status {done.returncode}")
    return done.stdout[:MAX_BYTES].decode("utf-8", "replace")
