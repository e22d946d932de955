"""Real servers for the tests in this folder, started on demand and stopped whatever happens.

A server that is not installed skips its tests with one line that names the Debian package; with CI=true it fails
them, because there a skip would look like a proof.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import NoReturn, TypeVar

import pytest

from tests.peers.authority import PrivateCA, private_authority
from tests.peers.available import PeerMissingError
from tests.peers.dovecot import Dovecot, running_dovecot
from tests.peers.mailboxes import PASSWORD, Mailboxes
from tests.peers.oidc import Oidc, running_oidc
from tests.peers.postfix import Postfix, running_postfix
from tests.peers.process import HOST6, free_port, loopback
from tests.peers.prometheus import Prometheus, Promtool, running_prometheus
from tests.peers.prometheus import promtool as find_promtool

Peer = TypeVar("Peer")


def give_up(missing: PeerMissingError) -> NoReturn:
    """Skip the test, or fail it with CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(str(missing))


def required(start: Callable[[], AbstractContextManager[Peer]]) -> Iterator[Peer]:
    """The body of a fixture that needs a peer: enter it, hand it over, leave it."""
    with ExitStack() as stack:
        try:
            peer = stack.enter_context(start())
        except PeerMissingError as missing:
            give_up(missing)
        yield peer


@pytest.fixture(scope="session")
def private_ca() -> Iterator[PrivateCA]:
    """The CA that every peer's certificate comes from."""
    with private_authority() as authority:
        yield authority


@pytest.fixture(scope="session")
def oidc(private_ca: PrivateCA) -> Iterator[Oidc]:
    """An issuer of tokens, in the place of Entra ID."""
    yield from required(lambda: running_oidc(private_ca))


@pytest.fixture(scope="session")
def dovecot(private_ca: PrivateCA, oidc: Oidc) -> Iterator[Dovecot]:
    """Submission and IMAP that accept the issuer's tokens."""
    yield from required(lambda: running_dovecot(private_ca, oidc))


@pytest.fixture(scope="session")
def elsewhere(private_ca: PrivateCA, oidc: Oidc) -> Iterator[Dovecot]:
    """Somebody else's Dovecot: the recipient has a password there, and nobody answers when it asks about tokens."""
    yield from required(
        lambda: running_dovecot(
            private_ca,
            oidc,
            passwords={Mailboxes().recipient: PASSWORD},
            introspection_url=f"https://localhost:{free_port()}/introspect",
        )
    )


@pytest.fixture(scope="session")
def postfix(private_ca: PrivateCA, dovecot: Dovecot) -> Iterator[Postfix]:
    """Submission by Postfix, which asks Dovecot about tokens and delivers to its mailboxes."""
    yield from required(lambda: running_postfix(private_ca, dovecot))


@pytest.fixture(scope="session")
def ipv6() -> None:
    """A loopback address of IPv6."""
    if HOST6 not in loopback():
        give_up(PeerMissingError(f"this machine has no {HOST6}: sysctl net.ipv6.conf.lo.disable_ipv6=0"))


@pytest.fixture
def prometheus() -> Iterator[Callable[[str], Prometheus]]:
    """Starts a Prometheus that scrapes the address it is given; it runs until the test ends."""
    with ExitStack() as stack:

        def scrape(url: str) -> Prometheus:
            try:
                return stack.enter_context(running_prometheus(url))
            except PeerMissingError as missing:
                give_up(missing)

        yield scrape


@pytest.fixture(scope="session")
def promtool() -> Iterator[Promtool]:
    """Prometheus' linter of metrics."""
    yield from required(lambda: nullcontext(find_promtool()))
