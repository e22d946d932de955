"""What steps name: the endpoint that failed, whichever of a target's endpoints that was."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from checks.core.causes import Cause, table
from checks.core.cloud import Cloud, Endpoint, TlsMode
from checks.core.material import ClientSecret
from checks.core.model import Evidence, Kind, Phase, Protocol, Scope, Subject
from checks.core.secret import Address, Secret
from checks.core.target import App, Credential, Inbox, Mailbox, OwnNetwork, Route, Target, Tenant, subject_of, words_of

CLOUD = Cloud(
    name="private",
    authority="https://login.example",
    scope="s",
    smtp=Endpoint(host="smtp.example", port=587),
    imap=Endpoint(host="imap.example", port=993, tls=TlsMode.IMPLICIT),
    pop=Endpoint(host="pop.example", port=110),
)
APP = App(id="mailer", tenant=Tenant(name="contoso", tenant_id="t", cloud=CLOUD), client_id="c")
CREDENTIAL = Credential(app=APP, material=ClientSecret(Secret("planted-secret")))
ELSEWHERE = Endpoint(host="hve.example", port=587)
MAILBOX = Mailbox(id="billing", address=Address("b@contoso.example"), credential=CREDENTIAL, endpoint=ELSEWHERE)
PARTNER = Endpoint(host="partner.example", port=143)
INBOX = Inbox(id="ops", address=Address("o@contoso.example"), endpoint=PARTNER, credential=CREDENTIAL)
ROUTE = Route(protocol=Protocol.POP, endpoint=Endpoint(host="pop.example", port=995, tls=TlsMode.IMPLICIT))
NETWORK = OwnNetwork(reach=("192.0.2.53:53", "192.0.2.1:443"))

OAUTH, SMTP, IMAP, POP = Protocol.OAUTH, Protocol.SMTP, Protocol.IMAP, Protocol.POP


def evidence(protocol: Protocol, **more: object) -> Evidence:
    """A certificate for another name."""
    return replace(Evidence(protocol=protocol, phase=Phase.TLS, kind=Kind.TLS, code="62"), **more)


@pytest.mark.parametrize(
    ("target", "protocol", "step"),
    [
        (CREDENTIAL, OAUTH, "openssl s_client -connect login.example:443"),
        (MAILBOX, OAUTH, "openssl s_client -connect login.example:443"),
        (MAILBOX, SMTP, "openssl s_client -connect hve.example:587 -starttls smtp"),
        (MAILBOX, IMAP, "openssl s_client -connect imap.example:993"),
        (MAILBOX, POP, "openssl s_client -connect pop.example:110 -starttls pop3"),
        (INBOX, OAUTH, "openssl s_client -connect login.example:443"),
        (INBOX, IMAP, "openssl s_client -connect partner.example:143 -starttls imap"),
        (ROUTE, POP, "openssl s_client -connect pop.example:995"),
    ],
)
def test_steps_name_the_endpoint_that_failed(target: Target, protocol: Protocol, step: str) -> None:
    """A certificate for another name: the step looks at the server that presented it, which is also the subject."""
    seen = evidence(protocol)
    words = words_of(target, seen)
    assert step in table().classify(seen).steps_for(words)[-1]
    assert Subject(Scope.ENDPOINT, f"{words['host']}:{words['port']}") == subject_of(target, Scope.ENDPOINT, seen)


def test_our_own_network_has_no_endpoint() -> None:
    """Where our own network is down, the steps name all that was tried to be reached, and not one mail server."""
    down = evidence(SMTP, kind=Kind.OBSERVED, code="network_down")
    assert "192.0.2.53:53, 192.0.2.1:443" in table().classify(down).steps_for(words_of(NETWORK, down))[0]


@pytest.mark.parametrize("cause", list(table()), ids=lambda cause: cause.id)
def test_every_placeholder_has_a_word(cause: Cause) -> None:
    """Whatever a row may be found for, its steps name only what is known there; `address` where it may be shown."""
    shown = {"address"}
    sources: list[Target] = [MAILBOX, INBOX] if cause.scope is Scope.TARGET else [MAILBOX]
    if cause.scope is Scope.ENDPOINT:
        sources = [MAILBOX, INBOX, ROUTE]
    if cause.scope is Scope.NETWORK:
        sources = [NETWORK]
    named = {word for step in cause.steps for word in re.findall(r"\{(\w+)\}", step)} - shown
    for example in cause.examples:
        targets = [CREDENTIAL, MAILBOX] if example.protocol is OAUTH else sources
        if (
            cause.scope is Scope.TARGET
        ):  # a mailbox's causes name it, an inbox's causes name that: one of both is enough
            assert any(named <= words_of(target, example).keys() for target in targets), named
        else:
            assert all(named <= words_of(target, example).keys() for target in targets), named
