"""Token requests through a proxy: they go that way and no other, and what a proxy does wrong is the network's."""

from __future__ import annotations

import asyncio
import base64
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from checks.core.causes import table
from checks.core.clock import SystemClock
from checks.core.kit import Network
from checks.core.model import Blame, Kind, Outcome, Phase
from checks.core.secret import Redactor, Secret
from checks.core.trace import Failure, Trace
from checks.wire import bridge
from checks.wire.kit import open_kit
from tests.checks import apps
from tests.checks.lab import Lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from checks.core.model import Result

USER, PASSWORD = "watcher", "pr0xy:p@ss/word"
IN_URL = f"{USER}:pr0xy%3Ap%40ss%2Fword@"


@dataclass
class Proxy:
    """A proxy that leads every CONNECT to where it wants to go, or answers with something else."""

    answer: bytes | None = b""
    port: int = 0
    asked: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its URL, with user and password."""
        return f"http://{IN_URL}127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            self.asked.append(head[0])
            logins = [line.partition(" ")[2] for line in head if line.lower().startswith("proxy-authorization:")]
            self.logins += [base64.b64decode(login.removeprefix("Basic ")).decode() for login in logins]
            if self.answer is None:
                await reader.read()
            elif self.answer:
                writer.write(self.answer)
            else:
                host, _, port = head[0].split(" ")[1].rpartition(":")
                upstream = await asyncio.open_connection(host, int(port))
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.gather(_pipe(reader, upstream[1]), _pipe(upstream[0], writer))
        writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxied(lab: Lab, proxy: Proxy, url: str | None = None) -> AsyncIterator[Lab]:
    """The lab with a kit whose token requests go through a proxy."""
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as listening:
        proxy.port = listening.sockets[0].getsockname()[1]
        network = Network(proxy=Secret(url or proxy.url))
        async with open_kit(clock=SystemClock(), seed=1, network=network) as kit:
            yield Lab(lab.office, kit)


def told(result: Result) -> tuple[str, Phase, Kind, str | None]:
    """Cause, phase, kind and code of the worst finding."""
    assert result.worst is not None
    evidence = result.worst.evidence
    return result.worst.cause, evidence.phase, evidence.kind, evidence.code


async def test_token_requests_go_through_the_proxy(lab: Lab, tmp_path: Path) -> None:
    """Every request to the authority is a CONNECT with user and password, for each kind of credential."""
    proxy = Proxy()
    async with proxied(lab, proxy) as there:
        for credential in (lab.credential(), lab.credential("hr-portal"), apps.cluster(lab, tmp_path / "a")):
            result = await there.run("token", credential)
            assert (Outcome.PASS, ()) == (result.outcome, result.findings)
            assert all(time.finished for time in result.phases)
        assert Phase.TLS in [time.phase for time in result.phases] or len(proxy.asked) == 1
    assert {f"CONNECT localhost:{lab.office.entra_port} HTTP/1.1"} == set(proxy.asked)
    assert {f"{USER}:{PASSWORD}"} == set(proxy.logins)


async def test_phases_are_those_of_the_way_through_the_proxy(lab: Lab) -> None:
    """To the proxy it is connect, then TLS with the authority, then the token."""
    async with proxied(lab, Proxy()) as there:
        result = await there.run("token")
    phases = list(dict.fromkeys(time.phase for time in result.phases))
    assert [Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.TOKEN, Phase.CLAIMS] == phases


async def test_mail_and_the_hosts_identity_do_not_go_through_the_proxy(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The identity endpoint is asked directly, and so is the SMTP server."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", lab.office.identity_url)
    proxy = Proxy(answer=b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    async with proxied(lab, proxy) as there:
        result = await there.run("smtp_auth", apps.mailbox(lab, apps.host(lab)))
    assert (Outcome.PASS, []) == (result.outcome, proxy.asked)


def http(status: str) -> bytes:
    """One answer to CONNECT."""
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("answer", "cause", "kind", "code", "words"),
    [
        (http("407 Proxy Authentication Required"), "network.proxy_login", Kind.HTTP, "proxy_407", "answers 407"),
        (http("403 Forbidden"), "network.proxy_refused", Kind.HTTP, "proxy_refused", "answers 403 Forbidden"),
        (http("502 Bad Gateway"), "network.proxy_refused", Kind.HTTP, "proxy_refused", "answers 502"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "network.proxy_unreachable", Kind.NONSENSE, "proxy", ""),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "network.proxy_unreachable", Kind.NONSENSE, "proxy", ""),
        (None, "network.proxy_unreachable", Kind.TIMEOUT, "proxy", "no answer within"),
    ],
    ids=["407", "403", "502", "ssh", "endless", "silent"],
)
async def test_a_proxy_that_does_not_open_the_way(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, cause: str, kind: Kind, code: str, words: str
) -> None:
    """It is told by name, in the phase connect, as the network's, and never as the authority's."""
    monkeypatch.setattr(bridge, "REACH_SECONDS", 0.3)
    proxy = Proxy(answer)
    async with proxied(lab, proxy) as there:
        result = await there.run("token", seconds=5)
    assert (cause, Phase.CONNECT, kind, code) == told(result), result.worst.evidence
    assert f"proxy 127.0.0.1:{proxy.port}" in result.worst.evidence.text
    assert words in result.worst.evidence.text
    assert Blame.NETWORK is table()[cause].blame
    assert result.seconds < 4


async def test_a_proxy_that_is_not_there(lab: Lab) -> None:
    """A closed port and a name that does not exist are the network's too."""
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
    for url, kind in ((f"http://127.0.0.1:{port}", Kind.REFUSED), ("http://proxy.invalid:3128", Kind.RESOLVE)):
        async with proxied(lab, Proxy(), url) as there:
            result = await there.run("token")
        assert ("network.proxy_unreachable", Phase.CONNECT, kind, "proxy") == told(result), result.worst.evidence


@pytest.mark.parametrize("url", ["proxy.contoso.example:3128", "socks5://u:hunter2@h:1", "http://", "http://[hunter2"])
async def test_what_is_no_url_of_a_proxy(lab: Lab, url: str) -> None:
    """It is told as such and not shown: it may hold a password."""
    async with proxied(lab, Proxy(), url) as there:
        result = await there.run("token")
    assert ("network.proxy_unreachable", Phase.TOKEN, Kind.OBSERVED, "proxy") == told(result)
    assert "hunter2" not in repr(result)


async def test_a_silent_authority_behind_the_proxy_is_not_the_proxys_fault(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the way is open only the run's own deadline holds, and phases and causes are as without a proxy."""
    monkeypatch.setattr(bridge, "REACH_SECONDS", 0.3)
    async with proxied(lab, Proxy()) as there:
        await lab.office.inject("silent", "entra", {"phase": "tls"})
        result = await there.run("token", seconds=1)
        assert ("network.timeout", Phase.TLS, Kind.TIMEOUT, None) == told(result)
        await lab.office.reset()
        await lab.office.inject("silent", "entra", {"phase": "token"})
        result = await there.run("token", seconds=1)
        assert ("network.timeout", Phase.TOKEN, Kind.TIMEOUT, None) == told(result)


async def test_the_proxys_password_shows_nowhere(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """Not in results, logs or tracebacks, even when the proxy says it aloud."""
    caplog.set_level(logging.DEBUG)
    seen = []
    echo = f"407 {IN_URL} {PASSWORD} {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
    for answer in (http(echo), http("407 no"), b"SSH-2.0 " + PASSWORD.encode() + b"\r\n"):
        async with proxied(lab, Proxy(answer)) as there:
            seen.append(repr(await there.run("token")))
            try:
                await there.kit.tokens.fresh(lab.credential(), Trace(there.kit.clock, Redactor()))
            except Failure:
                logging.getLogger("test").exception("it failed")
    told = "".join(seen) + caplog.text
    assert "407" in told
    for form in (PASSWORD, "pr0xy%3A", base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()):
        assert form not in told
