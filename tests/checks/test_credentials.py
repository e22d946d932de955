"""Federated tokens and managed identities: what gets a token, and what each lack of one is called."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from checks.core.causes import table
from checks.core.model import Blame, ClaimsSeen, Kind, Outcome, Phase
from checks.wire import bridge
from monitor.sim.contoso import BILLING_ID, CLUSTER_SUBJECT, HOST_ID
from tests.checks import apps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from checks.core.model import Result
    from checks.core.target import Credential
    from tests.checks.lab import Lab

# How to make one, and what its token says: how the app came (appidacr), its roles, its scopes.
AS_APP = ("2", ("SMTP.SendAsApp",), ())
KINDS: dict[str, tuple[Callable[[Lab, Path], Credential], tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
    "federated": (apps.cluster, AS_APP),
    "managed_identity": (lambda lab, _: apps.host(lab), AS_APP),
    "refresh_token": (apps.desk, ("0", (), ("SMTP.Send",))),
}


@pytest.fixture(autouse=True)
def _on_azure(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's identity endpoint is this host's, and no other is near."""
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", lab.office.identity_url)


def told(result: Result) -> tuple[str, Phase, Kind]:
    """Cause, phase and kind of the worst finding."""
    assert result.worst is not None
    return result.worst.cause, result.worst.evidence.phase, result.worst.evidence.kind


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_gets_a_token_and_signs_in(lab: Lab, tmp_path: Path, kind: str) -> None:
    """Each kind passes `token`, which says how the app came and what it may, and `smtp_auth`; no phase is left open."""
    make, says = KINDS[kind]
    credential = make(lab, tmp_path / "token")
    result = await lab.run("token", credential)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    (claims,) = [fact for fact in result.facts if isinstance(fact, ClaimsSeen)]
    assert says == (claims.credential_kind, claims.roles, claims.scopes)
    assert all(time.finished for time in result.phases)
    assert Outcome.PASS is (await lab.run("smtp_auth", apps.mailbox(lab, credential))).outcome


async def test_a_federated_token_is_read_anew_each_time(lab: Lab, tmp_path: Path) -> None:
    """What its owner puts into the file is used by the very next acquisition."""
    file = tmp_path / "token"
    credential = apps.cluster(lab, file)
    assert Outcome.PASS is (await lab.run("token", credential)).outcome
    file.write_text(lab.office.cluster.token("somebody:else", datetime.now(UTC)))
    assert "entra.federation_subject" == (await lab.run("token", credential)).worst.cause
    apps.cluster(lab, file)
    assert Outcome.PASS is (await lab.run("token", credential)).outcome


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"hunter2-not-a-token", "holds no JSON Web Token"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"e" * 70_000, "is larger than 65536 bytes"),
        (b"e30." + b"[" * 40_000 + b".x", "holds no JSON Web Token"),
    ],
    ids=["empty", "blank", "password", "binary", "endless", "nested"],
)
async def test_a_file_without_a_token_is_a_mistake_of_ours(
    lab: Lab, tmp_path: Path, content: bytes, words: str
) -> None:
    """What is in the file is judged before anything is asked, told with its path, and never shown."""
    file = tmp_path / "token"
    credential = apps.cluster(lab, file)
    file.write_bytes(content)
    result = await lab.run("token", credential)
    assert ("entra.token_file_unusable", Phase.TOKEN, Kind.OBSERVED) == told(result)
    assert f"{file}: {words}" in result.worst.evidence.text
    assert Blame.CONFIGURATION is table()[result.worst.cause].blame
    assert "hunter2" not in repr(result)
    assert [Phase.TOKEN] == [time.phase for time in result.phases]


async def test_a_file_that_is_not_there_or_is_no_file(lab: Lab, tmp_path: Path) -> None:
    """A missing file, a folder and a pipe that nobody writes to are told at once."""
    file = tmp_path / "token"
    credential = apps.cluster(lab, file)
    for make, words in (
        (lambda: None, "cannot be read: No such file or directory"),
        (file.mkdir, "cannot be read: Is a directory"),
        (lambda: (file.rmdir(), os.mkfifo(file)), "is not a regular file"),
    ):
        file.unlink(missing_ok=True) if not file.is_dir() else None
        make()
        result = await lab.run("token", credential, seconds=3)
        assert ("entra.token_file_unusable", Phase.TOKEN, Kind.OBSERVED) == told(result)
        assert words in result.worst.evidence.text


async def test_an_expired_federated_token_is_not_sent(lab: Lab, tmp_path: Path) -> None:
    """Ten minutes too old it is ours to renew; within the tolerance for clocks Entra ID is asked, and takes it."""
    file = tmp_path / "token"
    old = [datetime.now(UTC) - timedelta(hours=1, minutes=minutes) for minutes in (10, 3)]
    expired, tolerated = [
        await lab.run("token", apps.cluster(lab, file, lab.office.cluster.token(CLUSTER_SUBJECT, moment)))
        for moment in old
    ]
    assert ("entra.token_file_expired", Phase.TOKEN, Kind.OBSERVED) == told(expired)
    assert "expired 600 s ago" in expired.worst.evidence.text or "expired 601 s ago" in expired.worst.evidence.text
    assert Blame.MONITOR is table()[expired.worst.cause].blame
    assert Outcome.PASS is tolerated.outcome


@pytest.mark.parametrize(
    ("fault", "cause", "aadsts"),
    [
        ("federation_missing", "entra.federation_missing", 70021),
        ("federation_issuer", "entra.federation_issuer", 700211),
        ("federation_audience", "entra.federation_audience", 700212),
        ("federation_subject", "entra.federation_subject", 700213),
    ],
)
async def test_a_federated_credential_that_does_not_match(
    lab: Lab, tmp_path: Path, fault: str, cause: str, aadsts: int
) -> None:
    """Each part that differs has a cause of its own, blamed on the credential."""
    await lab.office.inject(fault, "cluster-mailer")
    result = await lab.run("token", apps.cluster(lab, tmp_path / "token"))
    assert (cause, Phase.TOKEN, Kind.OAUTH) == told(result)
    assert (aadsts, "cluster-mailer/current") == (result.worst.evidence.aadsts, result.worst.subject.key)


async def test_app_service_gives_tokens_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment of App Service its endpoint is asked, with its password, which shows nowhere."""
    for name, value in lab.office.app_service.items():
        monkeypatch.setenv(name, value)
    assert Outcome.PASS is (await lab.run("token", apps.host(lab))).outcome
    refused = await lab.run("token", apps.host(lab, BILLING_ID))
    assert ("entra.host_identity_missing", Phase.TOKEN, Kind.HTTP) == told(refused)
    monkeypatch.setenv("IDENTITY_SERVER_THUMBPRINT", "no thumbprint")  # as on Service Fabric
    assert ("entra.no_managed_identity", Phase.TOKEN, Kind.OBSERVED) == told(await lab.run("token", apps.host(lab)))
    monkeypatch.delenv("IDENTITY_SERVER_THUMBPRINT")
    monkeypatch.setenv("IDENTITY_HEADER", "guessed-password")
    refused = await lab.run("token", apps.host(lab))
    assert ("entra.no_managed_identity", Phase.TOKEN, Kind.HTTP) == told(refused)
    assert "guessed-password" not in repr(refused)


async def test_an_identity_is_chosen_by_its_client_id(lab: Lab) -> None:
    """`client_id` is passed on: the host's own passes, another one is not assigned here."""
    assert Outcome.PASS is (await lab.run("token", apps.host(lab, HOST_ID))).outcome
    result = await lab.run("token", apps.host(lab, BILLING_ID))
    assert ("entra.host_identity_missing", Phase.TOKEN, Kind.OAUTH) == told(result)


async def test_an_identity_that_was_removed(lab: Lab) -> None:
    """A host without an identity is told apart from a host that is not in Azure."""
    await lab.office.inject("host_identity_removed", "host-mailer")
    result = await lab.run("token", apps.host(lab))
    assert ("entra.host_identity_missing", Phase.TOKEN, Kind.OAUTH) == told(result)


@asynccontextmanager
async def endpoint(answer: bytes | None) -> AsyncIterator[str]:
    """Something that listens where the identity endpoint would be: it says one thing, or nothing at all."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
        writer.close()

    async with await asyncio.start_server(play, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@contextmanager
def full_port() -> Iterator[int]:
    """A port where connections are neither accepted nor refused: its queue is full (listen(2), Linux)."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - the only parameter
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def http(status: str, body: bytes, content_type: str = "application/json") -> bytes:
    """One HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "cause", "phase", "kind"),
    [
        (http("404 Not Found", b"<html>no such page</html>"), "entra.no_managed_identity", Phase.TOKEN, Kind.HTTP),
        (http("429 Too Many", b"{}"), "entra.identity_endpoint_busy", Phase.TOKEN, Kind.HTTP),
        (http("500 Error", b"{}"), "entra.identity_endpoint_busy", Phase.TOKEN, Kind.HTTP),
        (http("200 OK", b"<html>captive portal</html>"), "entra.no_managed_identity", Phase.TOKEN, Kind.NONSENSE),
        (http("200 OK", b"[" * 100_000), "entra.no_managed_identity", Phase.TOKEN, Kind.NONSENSE),
        (
            http("200 OK", b'{"access_token":"x","expires_in":"soon"}'),
            "entra.no_managed_identity",
            Phase.TOKEN,
            Kind.NONSENSE,
        ),
        (http("200 OK", b"A" * 300_000), "entra.no_managed_identity", Phase.TOKEN, Kind.NONSENSE),
        (b"SSH-2.0-OpenSSH\r\n", "entra.no_managed_identity", Phase.TOKEN, Kind.NONSENSE),
        (b"", "entra.no_managed_identity", Phase.TOKEN, Kind.CLOSED),
        (None, "entra.no_managed_identity", Phase.TOKEN, Kind.TIMEOUT),
        (
            http(
                "400 Bad", json.dumps({"error": "invalid_resource", "error_description": "AADSTS500011: The"}).encode()
            ),
            "entra.resource_unknown",
            Phase.TOKEN,
            Kind.OAUTH,
        ),
    ],
    ids=["404", "429", "500", "html", "nested", "no-number", "endless", "ssh", "closed", "silent", "aadsts"],
)
async def test_what_answers_in_place_of_an_identity_endpoint(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, cause: str, phase: Phase, kind: Kind
) -> None:
    """On other clouds and networks something else has that address: never a token, never a defect of ours."""
    monkeypatch.setattr(bridge, "REACH_SECONDS", 0.5)
    async with endpoint(answer) as url:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", url)
        result = await lab.run("token", apps.host(lab), seconds=5)
    assert (cause, phase, kind) == told(result), result.worst.evidence


async def test_a_host_outside_azure_has_no_identity(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal, a name that is not there and an address that swallows everything are one cause, blamed on the host."""
    async with endpoint(None) as closed:
        pass  # its port is closed again
    monkeypatch.setattr(bridge, "REACH_SECONDS", 0.2)
    with full_port() as port:
        for address, phase, kind in (
            (closed, Phase.CONNECT, Kind.REFUSED),
            ("http://imds.invalid", Phase.RESOLVE, Kind.RESOLVE),
            (f"http://127.0.0.1:{port}", Phase.CONNECT, Kind.TIMEOUT),
        ):
            monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", address)
            result = await lab.run("token", apps.host(lab), seconds=5)
            assert ("entra.no_managed_identity", phase, kind) == told(result), result.worst.evidence
            assert result.worst.evidence.text.startswith("the identity endpoint of this host: ")
            assert result.seconds < 4
    assert Blame.MONITOR is table()["entra.no_managed_identity"].blame
