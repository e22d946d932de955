"""Server processes that cannot outlive the tests which started them.

A server runs in a session of its own, so that one signal reaches it and all its children. It is stopped when the
`with` block ends, however it ends. Should the tests themselves be killed, a guard (a shell that waits for the end of
a pipe held by the tests) kills the server instead: nothing else is told of a SIGKILL.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

HOST = "127.0.0.1"
HOST6 = "::1"
START_SECONDS = 20.0  # a loaded CI machine needs several; a start that takes longer is broken
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02

# Below 32768, where Linux begins to hand out ports for outgoing connections (ip_local_port_range): a port chosen here
# is not taken by a passing client between the choice and the server's bind. macOS begins at 49152 (RFC 6335).
_PORTS = range(20000, 32000)
_given: set[int] = set()

_PROC = Path("/proc")

# Servers that start as root and drop their rights need directories that others may enter, and UNIX sockets need
# short paths (108 bytes, unix(7)): $TMPDIR of pytest or macOS is neither open nor short.
_HOMES = "/tmp"  # noqa: S108 - mkdtemp makes a fresh directory with an unguessable name in it

_GUARD = 'read -r line; kill -s KILL -- "-$1"'  # dash takes a negative number in this form, of several, only


class StartError(RuntimeError):
    """A server ended or stayed silent instead of starting; the message ends with the tail of its log."""


def free_port() -> int:
    """A TCP port that nobody listens on, on any loopback address, outside the range of outgoing connections.

    No port is given out twice, because servers with many ports ask for all of them before they listen.
    """
    hosts = loopback()
    while True:
        port = secrets.choice(_PORTS)
        if port not in _given and all(_can_bind(host, port) for host in hosts):
            _given.add(port)
            return port


def loopback() -> tuple[str, ...]:
    """The loopback addresses of this machine; not all have one of IPv6."""
    return (HOST, HOST6) if _can_bind(HOST6, 0) else (HOST,)


def _can_bind(host: str, port: int) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, port))
    except OSError:
        return False
    return True


def accepts(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def wait_until(happened: Callable[[], bool], seconds: float = START_SECONDS) -> bool:
    """Poll until it happened; False when it did not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


@contextlib.contextmanager
def temporary_home(name: str) -> Iterator[Path]:
    """A directory for one server, readable for the users it changes to, with a short path; removed at the end."""
    home = Path(tempfile.mkdtemp(prefix=f"mailcanary-{name}-", dir=_HOMES))
    try:
        home.chmod(0o755)
        yield home
    finally:
        shutil.rmtree(home)


@contextlib.contextmanager
def running(argv: Sequence[str | Path], *, log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """Run a server in the foreground until the block ends; its output goes to `log`.

    It sees a bare environment, so that proxies and CA bundles of the machine do not reach it. Raises StartError when it
    ends, or is not ready within 20 seconds.
    """
    with log.open("ab") as output:
        server = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"PATH": os.defpath},
        )
    try:
        with _guarded(server.pid):
            if not wait_until(lambda: server.poll() is not None or ready()) or server.poll() is not None:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                raise StartError(f"{argv[0]} did not start (exit code {server.poll()}):\n{tail}")
            yield
    finally:
        _stop(server)


def group_lives(group: int) -> bool:
    """Whether a process of this group runs.

    One that is dead and not yet reaped does not: in a container, where PID 1 may be no real init, it can stay for
    long. Only Linux tells them apart here; elsewhere PID 1 reaps at once.
    """
    if not _PROC.is_dir():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, 0)
            return True
        return False
    return any(_runs_in(group, stat) for stat in _PROC.glob("[0-9]*/stat"))


@contextlib.contextmanager
def _guarded(group: int) -> Iterator[None]:
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "guard", str(group)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.kill()  # before its pipe closes, or it would do its duty
        guard.communicate()


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Kill the whole group. Nothing of it is to be kept, so it is not asked to save anything first."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    if not wait_until(lambda: not group_lives(server.pid), STOP_SECONDS):
        raise RuntimeError(f"processes of {server.args!r} outlived SIGKILL; their group is {server.pid}")


def _runs_in(group: int, stat: Path) -> bool:
    try:
        # proc(5): pid (name) state parent group ...; the name may hold anything
        state, _parent, found = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
    except (FileNotFoundError, ProcessLookupError):
        return False  # it ended while we looked
    return int(found) == group and state not in {"Z", "X"}
