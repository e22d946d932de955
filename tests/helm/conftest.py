"""Helm's engine, the values that the chart is tried with, and the world of the daemon's tests."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.daemon.conftest import file, hr_certificate, office, signing_key
from tests.helm.engine import CHART, Engine, Object, Rendered, running_engine
from tests.peers.available import PeerMissingError
from tests.peers.conftest import give_up

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["file", "hr_certificate", "office", "signing_key"]


@pytest.fixture(scope="session")
def helm() -> Iterator[Engine]:
    """Helm's engine."""
    if find_spec("helm_python") is None:
        give_up(PeerMissingError("there is no wheel of helm-python-sdk for this system"))
    with running_engine() as engine:
        yield engine


@pytest.fixture
def default() -> Object:
    """The least that the chart needs."""
    values: Object = yaml.safe_load((CHART / "ci" / "default-values.yaml").read_text("utf-8"))
    return values


@pytest.fixture(params=["default", "full"])
def values(request: pytest.FixtureRequest) -> Object:
    """Each file of values in turn."""
    values: Object = yaml.safe_load((CHART / "ci" / f"{request.param}-values.yaml").read_text("utf-8"))
    return values


@pytest.fixture
def rendered(helm: Engine, values: Object) -> Rendered:
    """What is rendered with each file of values in turn."""
    return helm.render(values)
