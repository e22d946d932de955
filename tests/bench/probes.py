"""One probe in several ways: connect, banner, EHLO, STARTTLS, handshake with verification, EHLO, AUTH XOAUTH2, QUIT.

AUTH takes two steps everywhere (the command, then the answer to an empty challenge), as it does for tokens of Microsoft
365, which are longer than a command line. Every way verifies the certificate with one context for all of its probes,
and is measured by the CPU (user and system) of the process that probes: the server's is not counted.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiosmtplib

from checks.core.model import Outcome
from checks.core.run import run_check
from checks.core.secret import Redactor
from checks.core.trace import Trace
from checks.registry import CHECKS
from tests.bench.process import cpu_seconds, started
from tests.peers.available import PeerMissingError, program
from tests.peers.process import HOST, accepts, free_port, temporary_home

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from checks.core.kit import Kit
    from checks.core.target import Mailbox
    from tests.bench.simulator import Office

EHLO_NAME = "bench.example"
_PROBE_C = Path(__file__).with_name("probe.c")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to probe: `run` does so many probes one after another, `cpu` is what its process has used so far."""

    name: str
    run: Callable[[int], Awaitable[None]]
    cpu: Callable[[], float] = time.process_time


async def sasl_responses(kit: Kit, mailboxes: Sequence[Mailbox]) -> list[str]:
    """What the bare clients say in AUTH, with a token of the simulator: the same for all mailboxes of an app."""
    token = await kit.tokens.current(mailboxes[0].credential, Trace(kit.clock, Redactor()))
    bearer = f"\x01auth=Bearer {token.value.reveal()}\x01\x01"
    said = (f"user={mailbox.address.reveal()}{bearer}" for mailbox in mailboxes)
    return [base64.b64encode(text.encode()).decode() for text in said]


def by_run_check(kit: Kit, mailbox: Mailbox) -> Way:
    """The whole check, from the cached token to the result."""
    check = CHECKS["smtp_auth"]
    settings = check.settings()

    async def run(count: int) -> None:
        for _ in range(count):
            result = await run_check(check, mailbox, settings, kit, watch="smtp_auth/bench", seconds=10.0)
            assert Outcome.PASS is result.outcome, result.findings

    return Way("mailcanary, run_check", run)


def by_aiosmtplib(office: Office, response: str) -> Way:
    """The bare library, on a socket for which no name had to be looked up."""
    context = _context(office)

    async def once() -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
        await asyncio.get_running_loop().sock_connect(sock, (HOST, office.smtp_port))
        client = aiosmtplib.SMTP(
            hostname="localhost", start_tls=False, tls_context=context, local_hostname=EHLO_NAME, timeout=None
        )
        await client.connect(sock=sock, port=None)
        await client.ehlo()
        await client.starttls()
        await client.ehlo()
        assert 334 == (await client.execute_command(b"AUTH", b"XOAUTH2")).code
        assert 235 == (await client.execute_command(response.encode())).code
        assert 221 == (await client.execute_command(b"QUIT")).code
        if client.transport is not None:
            client.transport.abort()

    async def run(count: int) -> None:
        for _ in range(count):
            await once()

    return Way("aiosmtplib, uvloop", run)


def by_smtplib(office: Office, response: str, pool: ThreadPoolExecutor) -> Way:
    """The standard library, in a thread."""
    context = _context(office)

    def probe() -> None:
        client = smtplib.SMTP(HOST, office.smtp_port, local_hostname=EHLO_NAME)
        try:
            client._host = "localhost"  # the name in the certificate
            client.ehlo()
            client.starttls(context=context)
            client.ehlo()
            assert 334 == client.docmd("AUTH", "XOAUTH2")[0]
            assert 235 == client.docmd(response)[0]
            assert 221 == client.docmd("QUIT")[0]
        finally:
            client.close()

    async def run(count: int) -> None:
        for _ in range(count):
            await asyncio.get_running_loop().run_in_executor(pool, probe)

    return Way("smtplib, thread", run)


@contextmanager
def compiled() -> Iterator[Path]:
    """The program that probe.c makes; PeerMissingError without a C compiler or OpenSSL's headers."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise PeerMissingError("C with OpenSSL: no compiler here: apt-get install gcc libssl-dev")
    with temporary_home("probe") as home:
        binary = home / "probe"
        argv = [compiler, "-O2", "-pthread", "-o", str(binary), str(_PROBE_C), "-lssl", "-lcrypto"]
        if subprocess.run(argv, capture_output=True, check=False).returncode:
            raise PeerMissingError("C with OpenSSL: probe.c does not compile: apt-get install libssl-dev")
        yield binary


@contextmanager
def by_c(office: Office, response: str) -> Iterator[Way]:
    """The program in probe.c; PeerMissingError as `compiled`."""
    with compiled() as binary:
        spent = 0.0

        def probe(count: int) -> float:
            argv = [str(binary), str(office.smtp_port), office.ca_file, str(count)]
            ended = subprocess.run(argv, input=f"{response}\n", capture_output=True, text=True, check=True)
            return float(ended.stdout)

        async def run(count: int) -> None:
            nonlocal spent
            spent += await asyncio.to_thread(probe, count)

        yield Way("C, OpenSSL", run, lambda: spent)


@contextmanager
def running_blackbox(office: Office, response: str) -> Iterator[tuple[int, int]]:
    """Blackbox exporter with a module `xoauth2`: its pid and port; PeerMissingError when it is not installed.

    Its log is switched off.
    """
    binary = program("prometheus-blackbox-exporter", "prometheus-blackbox-exporter")
    dialogue = [
        {"expect": "^220 "},
        {"send": f"EHLO {EHLO_NAME}\r"},
        {"expect": "^250 "},
        {"send": "STARTTLS\r"},
        {"expect": "^220 "},
        {"starttls": True},
        {"send": f"EHLO {EHLO_NAME}\r"},
        {"expect": "^250 "},
        {"send": "AUTH XOAUTH2\r"},
        {"expect": "^334 "},
        {"send": f"{response}\r"},
        {"expect": "^235 "},
        {"send": "QUIT\r"},
        {"expect": "^221 "},
    ]
    module = {
        "prober": "tcp",
        "timeout": "5s",
        "tcp": {
            "preferred_ip_protocol": "ip4",
            "query_response": dialogue,
            "tls_config": {"ca_file": office.ca_file, "server_name": "localhost"},
        },
    }
    with temporary_home("blackbox") as home:
        configuration = home / "blackbox.yml"
        configuration.write_text(json.dumps({"modules": {"xoauth2": module}}))  # JSON is YAML
        port = free_port()
        with started(
            [binary, f"--config.file={configuration}", f"--web.listen-address={HOST}:{port}", "--log.level=error"],
            log=home / "log",
            ready=lambda _: accepts(port),
        ) as pid:
            yield pid, port


def blackbox_question(office: Office) -> str:
    """What it is asked for one probe."""
    return f"/probe?module=xoauth2&target={HOST}:{office.smtp_port}"


@contextmanager
def by_blackbox(office: Office, response: str) -> Iterator[Way]:
    """Blackbox exporter's tcp module, asked over one HTTP connection; PeerMissingError when it is not installed.

    Its process is measured: the probe, and the answer in Prometheus' format, without which it tells nobody.
    """
    with running_blackbox(office, response) as (pid, port):
        web = http.client.HTTPConnection(HOST, port)

        def probe(count: int) -> None:
            for _ in range(count):
                web.request("GET", blackbox_question(office))
                answer = web.getresponse().read()
                assert b"\nprobe_success 1\n" in answer, answer

        async def run(count: int) -> None:
            await asyncio.to_thread(probe, count)

        try:
            yield Way("blackbox_exporter", run, lambda: cpu_seconds(pid))
        finally:
            web.close()


def _context(office: Office) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(office.ca_file)
    return context
