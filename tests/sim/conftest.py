"""A running Microsoft 365, and clients for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from monitor.sim import ClientCertificate, Microsoft365, contoso, make_client_certificate, make_key
from tests.sim.sim_peer import Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa


@pytest.fixture(scope="session")
def signing_key() -> rsa.RSAPrivateKey:
    """One key for all offices of a test run: making one takes long."""
    return make_key()


@pytest.fixture(scope="session")
def hr_certificate() -> ClientCertificate:
    """The client certificate of hr-portal."""
    return make_client_certificate("hr-portal")


@pytest.fixture
async def office(
    tmp_path: Path,
    signing_key: rsa.RSAPrivateKey,
    hr_certificate: ClientCertificate,
    caplog: pytest.LogCaptureFixture,
) -> AsyncIterator[Microsoft365]:
    """The default world, running; whatever clients do to it, it must not log an error."""
    async with Microsoft365(tmp_path, contoso(hr_certificate=hr_certificate), key=signing_key) as running:
        yield running
    assert [] == [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture
def peer(office: Microsoft365, hr_certificate: ClientCertificate) -> Peer:
    """Clients of the running office."""
    return Peer(office, hr_certificate)
