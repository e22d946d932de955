"""A world to watch: the demo's Microsoft 365 with the demo's configuration, and a key made once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from monitor.demo import place
from monitor.sim import Microsoft365, contoso, make_client_certificate, make_key
from tests.peers.conftest import prometheus, promtool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cryptography.hazmat.primitives.asymmetric import rsa

    from monitor.sim import ClientCertificate

__all__ = ["prometheus", "promtool"]


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
    tmp_path: Path, signing_key: rsa.RSAPrivateKey, hr_certificate: ClientCertificate
) -> AsyncIterator[Microsoft365]:
    """The world of the demo, running."""
    declared = contoso(more_mailboxes=6, hr_certificate=hr_certificate)
    async with Microsoft365(tmp_path, declared, key=signing_key) as running:
        yield running


@pytest.fixture
def file(office: Microsoft365) -> Path:
    """The demo's configuration, with every watch run each second and a port of the system's choice."""
    written = place.furnish(office, 1.0)
    written.write_text(written.read_text().replace("127.0.0.1:9925", "127.0.0.1:0"))
    return written
