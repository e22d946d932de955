"""A lab for every test, on both event loops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvloop

from checks.core.clock import SystemClock
from checks.wire.kit import open_kit
from monitor.sim import Microsoft365, contoso, make_client_certificate, make_key
from tests.checks.lab import Lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import rsa

    from monitor.sim import ClientCertificate


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every test runs on plain asyncio and on uvloop."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def lab_key() -> rsa.RSAPrivateKey:
    """One signing key for all offices of a test run: making one takes long."""
    return make_key()


@pytest.fixture(scope="session")
def lab_certificate() -> ClientCertificate:
    """The client certificate of hr-portal, made once."""
    return make_client_certificate("hr-portal")


@pytest.fixture
async def lab(tmp_path: Path, lab_key: rsa.RSAPrivateKey, lab_certificate: ClientCertificate) -> AsyncIterator[Lab]:
    """A Microsoft 365 of its own, and a kit."""
    async with (
        Microsoft365(tmp_path, contoso(hr_certificate=lab_certificate), key=lab_key) as office,
        open_kit(clock=SystemClock(), seed=1) as kit,
    ):
        yield Lab(office, kit)
