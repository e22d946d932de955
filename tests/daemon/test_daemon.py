"""The daemon as its users run it: a process, a file, signals, HTTP, and an embedded Microsoft 365 that breaks."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from checks.core.clock import SystemClock
from monitor.model import Reason
from monitor.store import Store
from tests.daemon.process import PATIENCE, command, daemon, posts_to, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.sim import Microsoft365

PROOFS = int(os.environ.get("MAILCANARY_PROOFS", "1"))
WATCHES = 20  # 3 credentials, 8 mailboxes, 3 of which send canaries that are looked for, 1 inbox, 2 endpoints
EXPIRED = {"cause": "entra.secret_expired"}


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listen_on(file: Path, port: int) -> str:
    """Let the daemon's web server have this port; its address."""
    file.write_text(file.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    return f"http://127.0.0.1:{port}"


async def arrived(office: Microsoft365, count: int) -> list[str]:
    """Wait until so many alerts have arrived; their titles."""
    async with asyncio.timeout(PATIENCE):
        while len(posts_to(office)) < count:
            await asyncio.sleep(0.02)
    return list(posts_to(office))


async def test_from_a_file_to_an_alert_and_back(office: Microsoft365, file: Path) -> None:
    """A secret expires: one alert that says what to do; it is renewed: one message of the recovery."""
    async with daemon(file) as running:
        await running.named("run.finished", check="canary", outcome="pass")
        fault = await office.inject("secret_expired", "billing-mailer")
        opened = await running.named("incident.opened", **EXPIRED)
        (alert,) = await arrived(office, 1)
        await office.repair(fault.id)
        closed = await running.named("incident.closed", **EXPIRED)
        titles = await arrived(office, 2)
        running.send(signal.SIGTERM)
        assert 0 == await running.ended()
    assert opened["id"] == closed["id"]
    assert alert.startswith("CRITICAL: ")
    assert ["RECOVERED"] == [title.partition(":")[0] for title in titles[1:]]
    assert "billing-mailer" in office.inboxes.read("alerts")[0]["body"]["message"]


async def test_the_metrics_follow_and_name_no_address(office: Microsoft365, file: Path) -> None:
    """While it runs it is ready, its metrics name mailboxes by id, and neither they nor the events hold an address."""
    address = listen_on(file, free_port())
    async with daemon(file) as running:
        await office.inject("smtp_auth_disabled_mailbox", "payslips@contoso.example")
        await running.named("incident.opened", cause="exchange.smtp_auth_disabled_mailbox")
        assert (200, "ok\n") == await request("GET", f"{address}/-/healthy")
        assert 200 == (await request("GET", f"{address}/-/ready"))[0]
        _, metrics = await request("GET", f"{address}/metrics")
        events = repr(running.events)
    labels = 'app="hr-portal",check="smtp_auth",credential="current",mailbox="payslips",tenant="contoso"'
    up = f"mailcanary_watch_firing{{{labels}}} 1.0"
    assert up in metrics.splitlines()
    assert "@contoso.example" not in metrics
    assert "@contoso.example" not in events
    assert "sim8Q~" not in metrics + events


async def test_the_first_result_comes_soon(file: Path) -> None:
    """Watches run within their first interval, and every watch of the file runs."""
    async with daemon(file) as running:
        await running.named("config.loaded", watches=WATCHES)
        seen: set[str] = set()
        await running.until(lambda line: seen.add(line.get("watch", "")) or len(seen - {""}) == WATCHES)
    assert {"token/billing-mailer/current", "token/hr-portal/current", "canary/billing"} <= seen


async def test_a_bad_file_keeps_the_old_plan(office: Microsoft365, file: Path) -> None:
    """SIGHUP and POST with a bad file change nothing and say why; with a good one they change what differs."""
    address = listen_on(file, free_port())
    good = file.read_text()
    async with daemon(file) as running:
        await running.named("config.loaded")
        file.write_text(good.replace("smtp_auth:", "smtp_ath:"))
        status, text = await request("POST", f"{address}/-/reload")
        assert (400, True) == (status, "mailcanary.yaml:" in text and "smtp_ath" in text)
        running.send(signal.SIGHUP)
        refused = await running.named("config.refused")
        assert "smtp_ath" in refused["errors"][0]
        running.forget()
        await running.named("run.finished", watch="smtp_auth/box0004")
        file.write_text(
            "\n".join(line for line in good.splitlines() if "box0004" not in line).replace("payslips:", "payroll:")
        )
        running.send(signal.SIGHUP)
        loaded = await running.named("config.loaded")
        assert (1, 2, WATCHES - 1) == (loaded["added"], loaded["removed"], loaded["watches"])
        await running.named("run.finished", watch="smtp_auth/payroll")
        _, metrics = await request("GET", f"{address}/metrics")
        assert ("payslips" in metrics, "payroll" in metrics, "box0004" in metrics) == (False, True, False)
        assert (200, True) == ((await request("POST", f"{address}/-/reload"))[0], running.process.returncode is None)


async def test_a_channel_can_be_added_by_a_reload(office: Microsoft365, file: Path) -> None:
    """An incident that nobody could be told of is told as soon as a reload brings a channel."""
    whole = file.read_text()
    file.write_text(whole.replace("chat: {url: file:chat.url}", "{}").replace("channels:\n    {}", "channels: {}"))
    async with daemon(file) as running:
        await office.inject("secret_expired", "billing-mailer")
        await running.named("incident.opened", **EXPIRED)
        assert [] == list(posts_to(office))
        file.write_text(whole)
        running.send(signal.SIGHUP)
        await arrived(office, 1)


async def test_a_stop_waits_for_nobody(office: Microsoft365, file: Path) -> None:
    """SIGTERM ends the daemon within ten seconds while runs hang, a token request hangs and an alert never ends.

    What was decided meanwhile is not lost: the notice whose alert hung is still to be delivered.
    """
    silent = await asyncio.get_running_loop().create_server(Silent, "127.0.0.1", 0)
    Silent.reached.clear()
    (office.directory / "chat.url").write_text(f"json://127.0.0.1:{silent.sockets[0].getsockname()[1]}/hangs")
    calm = "smtp_auth: {interval: 20s, timeout: 20s}"
    file.write_text(file.read_text().replace("smtp_auth: {interval: 1s, timeout: 1s}", calm))
    address = listen_on(file, free_port())
    async with silent, daemon(file) as running:
        await running.named("run.finished", watch="token/billing-mailer/current", outcome="pass")
        await office.inject("silent", "smtp", {"phase": "banner"})
        await office.inject("secret_expired", "billing-mailer")
        incident = (await running.named("incident.opened", **EXPIRED))["id"]
        await office.inject("silent", "entra", {"phase": "token"})
        async with asyncio.timeout(PATIENCE):
            await Silent.reached.wait()
            while await total(address, "runs_busy") < 3:
                await asyncio.sleep(0.05)
        running.send(signal.SIGTERM)
        begun = time.monotonic()
        assert 0 == await running.ended()
        assert time.monotonic() - begun < 10
    async with Store.open(f"sqlite:///{office.directory / 'state.db'}", SystemClock()) as store:
        found = await store.claim(datetime.now(UTC) + timedelta(minutes=10), 100)
    assert (incident, Reason.FIRST) in {(notice.incident.id, notice.reason) for notice in found}


async def test_a_reader_that_stalls_holds_up_nothing(file: Path) -> None:
    """With a stdout that is full and that nobody reads, it probes, answers, and ends by SIGTERM within ten seconds.

    What the pipe and the daemon could not take is no reason to fail: its exit status is that of any other stop.
    """
    address = listen_on(file, free_port())
    with full_pipe() as writing:
        async with daemon(file, stdout=writing) as running:
            async with asyncio.timeout(PATIENCE):
                while not await answers(address) or await total(address, "runs_total") < 3 * WATCHES:
                    await asyncio.sleep(0.05)
            assert (200, "ok\n") == await request("GET", f"{address}/-/healthy")
            running.send(signal.SIGTERM)
            begun = time.monotonic()
            assert 0 == await running.ended()
            assert time.monotonic() - begun < 10


@contextmanager
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that holds all it can, whose reading end is open and is not read."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writing, b"\n")
        os.set_blocking(writing, True)
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


async def answers(address: str) -> bool:
    """Whether the web server answers."""
    try:
        return (await request("GET", f"{address}/-/healthy"))[0] == 200
    except aiohttp.ClientConnectionError:
        return False


class Silent(asyncio.Protocol):
    """A server that takes a connection and never says a word."""

    reached = asyncio.Event()

    def connection_made(self, _: asyncio.BaseTransport) -> None:
        """Somebody is waiting now."""
        self.reached.set()


async def total(address: str, name: str) -> float:
    """The sum of a metric over all its labels."""
    _, metrics = await request("GET", f"{address}/metrics")
    return sum(
        float(line.rpartition(" ")[2]) for line in metrics.splitlines() if re.match(rf"mailcanary_{name}[ {{]", line)
    )


async def test_what_was_decided_survives_kill_9(office: Microsoft365, file: Path) -> None:
    """Killed before its alert could be delivered, the daemon delivers it after the restart, and tells the recovery once.

    The channel refuses connections until after the kill, so that the kill always comes between decision and delivery.
    """
    chat = office.directory / "chat.url"
    url = chat.read_text()
    for number in range(1, PROOFS // 100 + 2):
        office.inboxes.clear()
        chat.write_text(f"json://127.0.0.1:{free_port()}/nobody")
        async with daemon(file) as running:
            fault = await office.inject("secret_expired", "billing-mailer")
            await running.named("notice.failed", reason="first")
            running.send(signal.SIGKILL)
            assert -signal.SIGKILL == await running.ended()
        chat.write_text(url)
        async with daemon(file) as running:
            assert 1 == (await running.named("state.restored"))["incidents_open"]
            await office.repair(fault.id)
            await running.named("notice.delivered", reason="recovered")
            assert ["CRITICAL", "RECOVERED"] == [title.partition(":")[0] for title in posts_to(office)], number
            running.send(signal.SIGTERM)
            assert 0 == await running.ended()


async def test_a_wrong_file_starts_nothing(tmp_path: Path) -> None:
    """Exit status 2, every error with its place, no database, no port."""
    file = tmp_path / "wrong.yaml"
    file.write_text("tenants: {}\napps: {}\nmailboxs: {}\nstore: sqlite:state.db\nweb: {listen: nowhere}\n")
    status, out, err = await command("run", "-c", str(file))
    assert (2, "") == (status, out)
    assert [f"{file}:3:1: mailboxs: unknown key; did you mean mailboxes?", f"{file}:5:7: web.listen: "] == [
        err.splitlines()[0],
        err.splitlines()[1][: len(f"{file}:5:7: web.listen: ")],
    ]
    assert [file] == list(tmp_path.iterdir())


async def test_a_channel_that_cannot_be_is_an_error_of_the_file(office: Microsoft365, file: Path) -> None:
    """A URL that Apprise does not know is refused before the start, by `validate` too, with its place and no secret."""
    (office.directory / "chat.url").write_text("nonsense://very-secret-token")
    for arguments in (["run", "-c", str(file)], ["validate", str(file)]):
        status, _, err = await command(*arguments)
        assert (2, True, False) == (status, "alerts.channels.chat.url" in err, "very-secret" in err)


async def test_a_taken_port_is_explained(file: Path) -> None:
    """Exit status 2 and a sentence that names the address."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        listen_on(file, port)
        status, _, err = await command("run", "-c", str(file))
    assert (2, True) == (status, f"127.0.0.1:{port}" in err)
    assert "Traceback" not in err


async def test_a_fleet_is_read_again_when_its_file_changes(file: Path) -> None:
    """Nobody has to ask for it; a bad row is told and left out, and the good ones are watched."""
    fleet = file.parent / "fleet.csv"
    fleet.write_text("id,address,app\nship,box0001@contoso.example,billing-mailer\n")
    file.write_text(f"{file.read_text()}\nmailboxes_from: [{{file: fleet.csv}}]\n")
    async with daemon(file) as running:
        await running.named("run.finished", watch="smtp_auth/ship", outcome="pass")
        with fleet.open("a") as more:
            more.write("boat,box0002@contoso.example,billing-mailer\nraft,nobody,billing-mailer\n")
        loaded = await running.named("config.loaded", added=1)
        (warning,) = loaded["warnings"]
        assert ("fleet.csv:4:", 1) == (warning[warning.index("fleet.csv") :][:12], loaded["warnings_total"])
        assert "nobody" not in warning
        await running.named("run.finished", watch="smtp_auth/boat", outcome="pass")


async def test_our_own_network_is_judged_before_others_are_blamed(office: Microsoft365, file: Path) -> None:
    """While nothing of `network.reach` answers, a dead endpoint is unknown, and one incident says that it is we."""
    nowhere = "224.0.0.2:443"  # multicast: TCP has no way there, and the system says so at once
    file.write_text(file.read_text().replace("network: {", f'network: {{reach: ["{nowhere}"], '))
    async with daemon(file) as running:
        await running.named("config.loaded")
        await office.inject("silent", "smtp", {"phase": "banner"})
        finished = await running.named("run.finished", check="smtp_auth", outcome="unknown")
        assert "monitor.network_down" == finished["findings"][0]["cause"]
