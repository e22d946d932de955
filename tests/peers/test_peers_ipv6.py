"""A real Postfix and a real Dovecot on both loopback addresses: by IPv6, by IPv4, and a mailbox by IPv6 alone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from checks.core.cloud import Endpoint, Family, TlsMode
from checks.core.model import EndpointSeen, Outcome, Phase, Protocol, Sent
from checks.core.target import Route
from checks.registry import CHECKS
from tests.peers.probes import credential, inbox, mailbox, run
from tests.peers.process import HOST, HOST6

if TYPE_CHECKING:
    from checks.core.model import Result
    from tests.peers.dovecot import Dovecot
    from tests.peers.oidc import Oidc
    from tests.peers.postfix import Postfix

pytestmark = pytest.mark.usefixtures("ipv6")
IPS = {Family.IPV4: HOST, Family.IPV6: HOST6}


def seen_at(result: Result) -> list[str]:
    """The addresses that answered."""
    return [fact.ip for fact in result.facts if isinstance(fact, EndpointSeen)]


@pytest.mark.parametrize("family", IPS)
@pytest.mark.parametrize(
    ("protocol", "port", "tls"),
    [
        (Protocol.SMTP, "port", TlsMode.STARTTLS),
        (Protocol.SMTP, "implicit_port", TlsMode.IMPLICIT),
        (Protocol.IMAP, "imap_port", TlsMode.IMPLICIT),
        (Protocol.IMAP, "imap_clear_port", TlsMode.STARTTLS),
        (Protocol.POP, "pop_port", TlsMode.IMPLICIT),
        (Protocol.POP, "pop_clear_port", TlsMode.STARTTLS),
    ],
    ids=str,
)
async def test_an_endpoint_passes_by_each_family(
    postfix: Postfix, dovecot: Dovecot, family: Family, protocol: Protocol, port: str, tls: TlsMode
) -> None:
    """A host with both addresses is looked at by the family that was asked for, and passes by either."""
    server = postfix if protocol is Protocol.SMTP else dovecot
    endpoint = Endpoint(host="localhost", port=getattr(server, port), tls=tls, ca_file=str(server.ca_file))
    result = await run("endpoint", Route(protocol=protocol, endpoint=endpoint, family=family), ips=(HOST, HOST6))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert [IPS[family]] == seen_at(result)


async def test_an_endpoint_passes_at_a_literal_address(postfix: Postfix) -> None:
    """The address itself may stand in the place of the host: the certificate has to name it."""
    endpoint = Endpoint(host=HOST6, port=postfix.port, ca_file=str(postfix.ca_file))
    result = await run("endpoint", Route(protocol=Protocol.SMTP, endpoint=endpoint, family=Family.IPV6))
    assert (Outcome.PASS, [HOST6]) == (result.outcome, seen_at(result)), result.findings


async def test_a_server_that_listens_by_ipv4_only_is_refused_by_ipv6(postfix: Postfix) -> None:
    """What listens on the IPv4 address alone is refused at the other, in connect, and passes by IPv4."""
    endpoint = Endpoint(host="localhost", port=postfix.stock_port, ca_file=str(postfix.ca_file))
    route = Route(protocol=Protocol.SMTP, endpoint=endpoint, family=Family.IPV6)
    result = await run("endpoint", route, ips=(HOST, HOST6))
    assert ("network.refused", Phase.CONNECT) == (result.worst.cause, result.worst.evidence.phase)
    result = await run("endpoint", dataclasses.replace(route, family=Family.IPV4), ips=(HOST, HOST6))
    assert (Outcome.PASS, [HOST]) == (result.outcome, seen_at(result)), result.findings


@pytest.mark.parametrize("check", ["smtp_auth", "imap_auth", "pop_auth"])
@pytest.mark.parametrize("host", ["localhost", HOST6])
async def test_a_mailbox_opens_by_ipv6(oidc: Oidc, postfix: Postfix, dovecot: Dovecot, check: str, host: str) -> None:
    """A token signs in by SMTP, IMAP and POP where there is IPv6 only, by name and by address."""
    owner = credential(oidc, dovecot, smtp=postfix.port, host=host)
    result = await run(check, mailbox(owner, dovecot.mailboxes.sender), ips=(HOST6,))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert [HOST6] == seen_at(result)


async def test_a_canary_goes_and_is_read_by_ipv6(oidc: Oidc, postfix: Postfix, dovecot: Dovecot) -> None:
    """A canary is sent, and its inbox read, where there is IPv6 only."""
    owner = credential(oidc, dovecot, smtp=postfix.port)
    target = inbox(owner, dovecot.mailboxes.recipient)
    settings = CHECKS["canary"].settings(to=(target,))
    result = await run("canary", mailbox(owner, dovecot.mailboxes.sender), settings, ips=(HOST6,))
    assert Outcome.PASS is result.outcome, result.findings
    assert any(isinstance(fact, Sent) for fact in result.facts)
    result = await run("inbox", target, ips=(HOST6,))
    assert Outcome.PASS is result.outcome, result.findings
