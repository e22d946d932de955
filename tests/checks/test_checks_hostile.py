"""Servers that want to keep the monitor busy or mislead it: cheap to see through, and never believed."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections import Counter
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import aiosmtplib
import pytest
import trustme
from aiosmtplib.protocol import SMTPProtocol
from hypothesis import given
from hypothesis import strategies as st

from checks.core.cloud import Endpoint, TlsMode
from checks.core.model import Kind, Outcome, Phase
from checks.wire import smtp_client
from checks.wire.smtp_client import MAX_BYTES, MAX_LINES, Client, Reader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from checks.core.model import Result
    from tests.checks.lab import Lab

# A server's part: for the banner and for each line that the client sends, what to write, segment by segment.
Part = list[list[bytes]]

GREETED: Part = [[b"220 hi\r\n"], [b"250-hi\r\n250-STARTTLS\r\n250 AUTH XOAUTH2\r\n"]]
FLOOD = 6000


@asynccontextmanager
async def server(part: Part, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on loopback that plays its part and hangs up; its port."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # the client may have heard enough
            for number, segments in enumerate(part):
                if number:
                    await reader.readline()
                for segment in segments:
                    writer.write(segment)
                    await writer.drain()
                    await asyncio.sleep(0)
            writer.close()

    async with await asyncio.start_server(play, "127.0.0.1", 0, ssl=tls) as listening:
        yield listening.sockets[0].getsockname()[1]


async def probed(lab: Lab, part: Part, tmp_path: Path, *, implicit: bool = False) -> Result:
    """What smtp_auth says of a server that plays this part."""
    authority = trustme.CA()
    ca_file = tmp_path / "hostile.pem"
    authority.cert_pem.write_to_path(ca_file)
    context = None
    if implicit:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
    async with server(part, context) as port:
        tls = TlsMode.IMPLICIT if implicit else TlsMode.STARTTLS
        endpoint = Endpoint(host="localhost", port=port, tls=tls, ca_file=str(ca_file))
        return await lab.run("smtp_auth", dataclasses.replace(lab.mailbox(), endpoint=endpoint))


class Counting:
    """Counts what is matched against a pattern: the lines that are looked at, and their bytes."""

    def __init__(self) -> None:
        self.lines = self.bytes = 0

    def fullmatch(self, line: bytes) -> object:
        """Match as before."""
        self.lines += 1
        self.bytes += len(line)
        return PATTERN.fullmatch(line)


PATTERN = smtp_client._LINE


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """What readers look at from now on."""
    counting = Counting()
    monkeypatch.setattr(smtp_client, "_LINE", counting)
    return counting


@pytest.mark.parametrize(
    ("part", "phase", "implicit"),
    [
        ([[b"220-x\r\n"] * FLOOD], Phase.BANNER, False),
        ([*GREETED[:1], [b"250-x\r\n"] * FLOOD], Phase.EHLO, False),
        ([*GREETED, [b"334-x\r\n"] * FLOOD], Phase.AUTH, True),
        ([*GREETED, [b"5"] * 2 * MAX_BYTES], Phase.AUTH, True),
        ([[b"220-" + b"x" * 2 * MAX_BYTES + b"\r\n"]], Phase.BANNER, False),
    ],
    ids=["banner", "ehlo", "auth", "bytes", "line"],
)
async def test_an_endless_reply_is_cheap_nonsense(
    lab: Lab, looked: Counting, tmp_path: Path, part: Part, phase: Phase, *, implicit: bool
) -> None:
    """A reply without end, in thousands of segments, ends its run as nonsense after its first 256 lines."""
    result = await probed(lab, part, tmp_path, implicit=implicit)
    evidence = result.worst.evidence
    assert (phase, Kind.NONSENSE, "smtp.nonsense") == (evidence.phase, evidence.kind, result.worst.cause), evidence
    assert "reply of more than" in evidence.text
    assert looked.lines <= MAX_LINES + 1 + 4, "one too many, and the healthy replies before"


@pytest.mark.parametrize(
    "banner",
    [
        b" 25 hi\r\n",
        b"+22 hi\r\n",
        b"2_2 hi\r\n",
        b"2500 hi\r\n",
        b"120 hi\r\n",
        b"220hi\r\n",
        b"\xd9\xa2\xd9\xa2\xd9\xa0 hi\r\n",
        b"\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"220-hi\r\n250 there\r\n",
        b"220 hi\r\n250 and more\r\n",
    ],
)
async def test_what_is_no_reply_is_nonsense(lab: Lab, tmp_path: Path, banner: bytes) -> None:
    """Codes that only `int()` would take, lines that disagree about the code, and speaking out of turn are refused."""
    evidence = (await probed(lab, [[banner]], tmp_path)).worst.evidence
    assert (Phase.BANNER, Kind.NONSENSE) == (evidence.phase, evidence.kind), evidence


async def test_an_answer_injected_before_tls_is_evidence(lab: Lab, tmp_path: Path) -> None:
    """Clear text behind the reply to STARTTLS ends the run, and what it said is kept (CVE-2011-0411)."""
    part = [*GREETED, [b"220 go\r\n250-hi\r\n250 AUTH PLAIN\r\n"]]
    evidence = (await probed(lab, part, tmp_path)).worst.evidence
    assert (Phase.STARTTLS, Kind.NONSENSE) == (evidence.phase, evidence.kind)
    assert evidence.text.endswith("AUTH PLAIN")


@pytest.mark.parametrize("implicit", [False, True])
async def test_a_server_that_leaves_behind_its_last_reply_is_no_defect(
    lab: Lab, tmp_path: Path, *, implicit: bool
) -> None:
    """A connection that closes together with a reply is closed by the server, not a defect of ours."""
    result = await probed(lab, GREETED, tmp_path, implicit=implicit)
    assert {Kind.CLOSED, Kind.RESET} >= {finding.evidence.kind for finding in result.findings}, result.findings
    assert (Phase.AUTH if implicit else Phase.STARTTLS) is result.worst.evidence.phase


async def test_the_library_still_calls_what_is_overridden(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a healthy run each reply is read by our reader alone, and the connection is made and ended by our client."""
    calls: Counter[str] = Counter()

    def count(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def counted(*args: object, **kwargs: object) -> object:
            calls[name] += 1
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, counted)

    for owner, library in ((Reader, SMTPProtocol), (Client, aiosmtplib.SMTP)):
        for name in {"data_received", "read_response", "_create_connection", "close"} & vars(owner).keys():
            assert hasattr(library, name)
            count(owner, name)
    count(SMTPProtocol, "_read_response_from_buffer")
    assert Outcome.PASS is (await lab.run("smtp_auth")).outcome
    assert 7 == calls["read_response"], "banner, EHLO, STARTTLS, EHLO, AUTH, token, QUIT"
    assert 7 <= calls["data_received"]
    assert 1 == calls["_create_connection"]
    assert 1 <= calls["close"]
    assert 0 == calls["_read_response_from_buffer"]


def read(
    protocol: type[Reader | SMTPProtocol], segments: Sequence[bytes]
) -> aiosmtplib.SMTPResponse | aiosmtplib.SMTPResponseException:
    """The first reply in some segments, which all arrive before it is asked for."""

    async def response() -> aiosmtplib.SMTPResponse:
        reader = protocol(asyncio.get_running_loop(), lambda _: None)
        reader.connection_made(asyncio.Transport())
        for segment in segments:
            reader.data_received(segment)
        async with asyncio.timeout(0):
            return await reader.read_response()

    with asyncio.Runner() as runner:
        try:
            return runner.run(response())
        except aiosmtplib.SMTPResponseException as refused:
            return refused


LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40), min_size=1, max_size=6)


@given(
    LINES.filter(lambda lines: lines[0].strip()), st.sampled_from(["250", "334", "535"]), st.lists(st.integers(0, 250))
)
def test_however_a_reply_is_cut_it_reads_the_same(lines: list[str], code: str, cuts: list[int]) -> None:
    """A good reply in any segments is what the library makes of it in one."""
    text = "".join(f"{code}-{line}\r\n" for line in lines[:-1]) + f"{code} {lines[-1]}\r\n"
    whole = text.encode()
    places = [0, *sorted(cuts), len(whole)]
    segments = [whole[start:end] for start, end in pairwise(places)]
    assert read(SMTPProtocol, [whole]) == read(Reader, segments)


def test_unasked_text_is_seen_in_a_segment_of_its_own_too() -> None:
    """What arrives behind a 220 before anybody has looked at it is not forgotten; behind other replies it is dropped."""
    refused = read(Reader, [b"220 go\r\n", b"250 more\r\n"])
    assert isinstance(refused, aiosmtplib.SMTPResponseException)
    assert "250 more" in refused.message
    assert (535, "no") == read(Reader, [b"535 no\r\n421 bye\r\n"])


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_byte_is_looked_at_once(looked: Counting, size: int) -> None:
    """A reply of the greatest length, in the smallest segments, is matched line by line and no line twice."""
    whole = b"250-" + b"\r\n250-".join([b"x" * 100] * (MAX_LINES - 1)) + b"\r\n250 y\r\n"
    reply = read(Reader, [whole[at : at + size] for at in range(0, len(whole), size)])
    assert isinstance(reply, aiosmtplib.SMTPResponse)
    assert (MAX_LINES, len(whole) - 2 * MAX_LINES) == (looked.lines, looked.bytes)
