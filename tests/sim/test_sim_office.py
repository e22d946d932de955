"""The office as a whole: what it leaves behind, its ports, both event loops."""

from __future__ import annotations

import asyncio
import errno
import socket
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from monitor.sim import ClientCertificate, Microsoft365, contoso
from tests.sim.sim_peer import BILLING, CANARY, Peer

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa

MESSAGE = f"From: {BILLING}\r\n\r\nBody.\r\n"


def deliver(peer: Peer) -> dict[str, tuple[int, bytes]]:
    """One message; the recipients that were refused."""
    with peer.logged_on() as session:
        return session.sendmail(BILLING, [CANARY], MESSAGE)


def knock(port: int) -> int:
    """The error number of a connection attempt, 0 when it succeeds."""
    with socket.socket() as sock:
        sock.settimeout(10)
        return sock.connect_ex(("127.0.0.1", port))


async def test_the_office_leaves_nothing_running(
    tmp_path: Path, signing_key: rsa.RSAPrivateKey, hr_certificate: ClientCertificate
) -> None:
    """After the last line no task and no port is left, even with clients that never say goodbye."""
    tasks = asyncio.all_tasks()
    async with Microsoft365(tmp_path, contoso(hr_certificate=hr_certificate), key=signing_key) as office:
        peer = Peer(office, hr_certificate)
        ports = [office.entra_port, office.smtp_port, int(office.control_url.rsplit(":", 1)[1])]
        ports += [office.imap_port, office.pop_port, office.partner_imap_port]
        await office.inject("silent", "smtp", {"phase": "ehlo"})
        lingering = [socket.create_connection(("127.0.0.1", port)) for port in ports]
        lingering[1].sendall(b"EHLO x\r\n")
        assert 200 == (await asyncio.to_thread(peer.post_token, peer.secret_form())).status
    for client in lingering:
        client.close()
    assert {errno.ECONNREFUSED} == {knock(port) for port in ports}
    assert tasks == asyncio.all_tasks()


async def test_the_office_is_closed_when_its_block_fails(
    tmp_path: Path, signing_key: rsa.RSAPrivateKey, hr_certificate: ClientCertificate
) -> None:
    """An error inside goes through, and the ports are given up."""
    ports = []

    async def fail() -> None:
        async with Microsoft365(tmp_path, contoso(hr_certificate=hr_certificate), key=signing_key) as office:
            ports.append(office.smtp_port)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert [errno.ECONNREFUSED] == [knock(port) for port in ports]


async def test_a_port_that_is_taken_starts_nothing(
    tmp_path: Path, signing_key: rsa.RSAPrivateKey, hr_certificate: ClientCertificate
) -> None:
    """When one port cannot be had, those opened before it are given up again."""
    tasks = asyncio.all_tasks()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        office = Microsoft365(
            tmp_path, contoso(hr_certificate=hr_certificate), key=signing_key, smtp_port=taken.getsockname()[1]
        )
        with pytest.raises(OSError, match="in use"):
            async with office:
                pass
    assert tasks == asyncio.all_tasks()


async def test_a_refused_port_comes_back_under_its_number(office: Microsoft365, peer: Peer) -> None:
    """The port serves again after the repair."""
    port = office.smtp_port
    fault = await office.inject("refused", "smtp")
    refused = await asyncio.to_thread(knock, port)
    await office.repair(fault.id)
    assert (errno.ECONNREFUSED, port) == (refused, office.smtp_port)
    assert {} == await asyncio.to_thread(deliver, peer)


async def test_two_refusals_need_two_repairs(office: Microsoft365) -> None:
    """A port opens when the last fault that shuts it is gone."""
    faults = [await office.inject("refused", "entra") for _ in range(2)]
    seen = []
    for fault in faults:
        await office.repair(fault.id)
        seen.append(await asyncio.to_thread(knock, office.entra_port))
    assert [errno.ECONNREFUSED, 0] == seen


async def test_kept_alive_connections_see_a_new_certificate(office: Microsoft365, peer: Peer) -> None:
    """A fault of the handshake drops the connections that had theirs before."""
    reader, writer = await asyncio.open_connection("localhost", office.entra_port, ssl=peer.tls)
    await office.inject("certificate", "entra", {"problem": "expired"})
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()
    with pytest.raises(ConnectionResetError):
        await writer.wait_closed()


def test_private_keys_are_for_their_owner_alone(
    tmp_path: Path, signing_key: rsa.RSAPrivateKey, hr_certificate: ClientCertificate
) -> None:
    """The key file of an app cannot be read by others, also when it was there before."""
    old = tmp_path / "hr-portal.pem"
    old.write_text("old")
    old.chmod(0o644)

    async def start() -> None:
        async with Microsoft365(tmp_path, contoso(hr_certificate=hr_certificate), key=signing_key):
            pass

    asyncio.run(start())
    assert 0o600 == stat.S_IMODE(old.stat().st_mode)
    assert hr_certificate.key + hr_certificate.certificate == old.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not exist there")
def test_it_works_on_uvloop_too(
    tmp_path: Path, signing_key: rsa.RSAPrivateKey, hr_certificate: ClientCertificate
) -> None:
    """A delivery, a refused port, its return, a reset and a silent peer, on the other event loop."""
    import uvloop

    async def everything() -> list[object]:
        async with Microsoft365(tmp_path, contoso(hr_certificate=hr_certificate), key=signing_key) as office:
            peer = Peer(office, hr_certificate)
            seen: list[object] = [await asyncio.to_thread(deliver, peer)]
            shut = await office.inject("refused", "smtp")
            seen.append(await asyncio.to_thread(knock, office.smtp_port))
            await office.repair(shut.id)
            seen.append(await asyncio.to_thread(deliver, peer))
            await office.inject("reset", "smtp", {"phase": "banner"})
            with (
                socket.create_connection(("127.0.0.1", office.smtp_port), timeout=10) as client,
                pytest.raises(ConnectionResetError),
            ):
                await asyncio.to_thread(client.recv, 1)
            await office.inject("silent", "entra", {"phase": "tls"})
            with socket.create_connection(("127.0.0.1", office.entra_port), timeout=10) as client:
                client.sendall(b"hello")
            return seen

    assert [{}, errno.ECONNREFUSED, {}] == uvloop.run(everything())
