"""Where the servers' programs are, and what to say when one is not there."""

import os
import shutil
from pathlib import Path

# An ordinary user's PATH often lacks the sbin directories, where Debian keeps mail servers.
_SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


class PeerMissingError(Exception):
    """A server cannot be used on this machine; the message is one line that says what to do."""


def program(name: str, package: str) -> Path:
    """The path of a server's program; PeerMissingError names the Debian package that brings it."""
    found = shutil.which(name, path=_SEARCH)
    if found is None:
        raise PeerMissingError(f"{name} is not installed: apt-get install {package} (or: make test PEERS=install)")
    return Path(found)
