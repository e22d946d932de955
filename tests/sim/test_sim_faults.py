"""Every fault of the table, injected and repaired, seen over sockets; a new row is tested on arrival."""

from __future__ import annotations

import asyncio
import http.client
import imaplib
import json
import poplib
import smtplib
import socket
from itertools import count
from typing import TYPE_CHECKING, Any, get_args

import pytest

from monitor.sim import KINDS, FaultError, Microsoft365
from monitor.sim.contoso import TENANT_ID
from monitor.sim.fault_settings import PHASES, SMTP_PHASES, AtPhase
from tests.sim.reading import arrival_seen, certificate_end, imap_seen, pop_seen
from tests.sim.sim_peer import BILLING, CANARY, Peer, exchange, xoauth2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from monitor.sim.faults import Kind

SUBJECTS = {"tenant": ("contoso.example",), "app": ("billing-mailer", "hr-portal"), "mailbox": (BILLING,)}
# Which app a credential's fault can be seen at.
FAULT_OF = {
    "secret": "billing-mailer",
    "certificate": "hr-portal",
    "federation": "cluster-mailer",
    "host_identity": "host-mailer",
    "refresh_token": "desk-mailer",
    "delegated": "desk-mailer",
    "public_client": "desk-mailer",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "drip": {"seconds_per_byte": 5},
    "smtp_reply": {"reply": "421 4.3.2 Service not active"},
    "http_reply": {"status": 500, "body": "oops", "content_type": "text/plain"},
    "http_slow": {"seconds": 5},
}
PATIENCE_S = 0.5  # how long a client waits where something is broken; healthy answers have ten seconds
MESSAGE = f"From: {BILLING}\r\n\r\nBody.\r\n"
IDENTS = count()  # of messages, so that each is found again


def cases() -> Iterator[Any]:
    """Every kind with every subject, phase and choice it has."""
    for kind in KINDS.values():
        for subject in kind.servers or subjects(kind):
            for settings in variants(kind, subject):
                yield pytest.param(
                    kind, subject, settings, id="-".join((kind.name, subject, *map(str, settings.values())))
                )


def subjects(kind: Kind) -> tuple[str, ...]:
    """What a fault can be seen at: a fault of secrets only at the app that has one."""
    for word, app in FAULT_OF.items():
        if kind.name.startswith(word):
            return (app,)
    return SUBJECTS[kind.subject][:1]


def variants(kind: Kind, subject: str) -> Iterator[dict[str, Any]]:
    """One set of settings for each phase and for each value of a choice."""
    base = SETTINGS.get(kind.name, {})
    choices = {name: get_args(field.annotation) for name, field in kind.settings.model_fields.items()}
    choices = {name: values for name, values in choices.items() if values and all(isinstance(v, str) for v in values)}
    phases: tuple[str | None, ...] = (None,)
    if issubclass(kind.settings, AtPhase):
        phases = tuple(phase for phase in PHASES[subject] if phase in kind.settings.phases)
    for phase in phases:
        place = {} if phase is None else {"phase": phase}
        if not choices:
            yield {**base, **place}
        for name, values in choices.items():
            for value in values:
                yield {**base, **place, name: value}


def attempt(what: Callable[[], str]) -> str:
    """What an action came to: its answer, or the kind of its failure."""
    try:
        return what()
    except (smtplib.SMTPException, http.client.HTTPException, OSError, ValueError, KeyError) as error:
        return type(error).__name__
    except (imaplib.IMAP4.error, poplib.error_proto) as error:
        return str(error)[:60]


async def seen(peer: Peer, patience_s: float, kind: Kind, subject: str) -> list[str]:
    """What clients see of the office: discovery, two tokens, a refused log-on, a message, and where mail is read.

    A fault of one server is looked for at that server, because clients of all would take too long.
    """
    peer.timeout = patience_s

    def discovery() -> str:
        answer = peer.ask("GET", f"/{TENANT_ID}/v2.0/.well-known/openid-configuration")
        return f"{answer.status} {'issuer' in answer.json} {round(answer.skew_s / 60)}"

    def token(form: dict[str, str]) -> str:
        answer = peer.post_token(form)
        return f"{answer.status} {answer.headers['Retry-After']} {sorted(answer.json.keys() - {'error_uri'})}"

    def refused() -> str:
        with peer.smtp() as session:
            return str(session.docmd("AUTH", f"XOAUTH2 {xoauth2(BILLING, 'abc')}")[0])

    def message() -> str:
        with peer.logged_on() as session:
            replies = [session.mail(BILLING), session.rcpt(CANARY), session.data(MESSAGE), session.docmd("QUIT")]
            return str([f"{code} {words[:7].decode()}" for code, words in replies])

    def safely(form: dict[str, str]) -> Callable[[], str]:
        return lambda: token(form)

    clients = [discovery, safely(peer.secret_form()), safely(peer.certificate_form()), refused, message]
    if kind.subject != "server":
        clients += [safely(peer.federated_form()), safely(peer.refresh_form())]
        clients.append(lambda: str(peer.host_token().status))
    reading = {
        "imap": lambda: imap_seen(peer),
        "pop": lambda: pop_seen(peer),
        "arrival": lambda: arrival_seen(peer, f"seen{next(IDENTS)}"),
    }
    if kind.subject == "mailbox":
        clients += reading.values()
    if kind.subject == "server" and subject in reading:
        clients = [reading[subject]]
    if kind.name == "certificate_ends_soon":
        clients.append(lambda: str(certificate_end(peer, subject)))
    return await asyncio.gather(*(asyncio.to_thread(attempt, one) for one in clients))


# A reset that arrives before CPython's wrap_socket begins leaves its half-made SSLSocket to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize(("kind", "subject", "settings"), list(cases()))
async def test_a_fault_is_seen_while_it_lasts(
    office: Microsoft365, peer: Peer, kind: Kind, subject: str, settings: dict[str, Any]
) -> None:
    """Each fault changes what a client sees, and its repair changes it back."""
    healthy = await seen(peer, 10.0, kind, subject)
    fault = await office.inject(kind.name, subject, settings)
    broken = await seen(peer, PATIENCE_S, kind, subject)
    await office.repair(fault.id)
    repaired = await seen(peer, 10.0, kind, subject)
    assert healthy != broken
    assert healthy == repaired


@pytest.mark.parametrize(("kind", "subject", "settings"), list(cases()))
async def test_a_fault_can_be_told_and_injected_again(
    office: Microsoft365, kind: Kind, subject: str, settings: dict[str, Any]
) -> None:
    """A fault's description is JSON from which the same fault can be made."""
    first = office.world.inject(kind.name, subject, settings)
    told = json.loads(json.dumps(first.describe()))
    rest = {name: value for name, value in told.items() if name not in {"id", "since", "fault", "subject"}}
    second = office.world.inject(told["fault"], told["subject"], rest)
    assert (first.kind, first.subject, first.settings) == (second.kind, second.subject, second.settings)


@pytest.mark.parametrize(
    ("name", "subject", "settings", "words"),
    [
        ("volcano", "smtp", {}, "unknown fault 'volcano'; known are app_disabled,"),
        (7, "smtp", {}, "unknown fault 7;"),
        ("refused", "ftp", {}, "refused: subject: 'ftp' is none of smtp, entra, imap, pop"),
        ("unavailable", "smtp", {}, "unavailable: subject: 'smtp' is none of imap, pop"),
        ("http_redirect", "smtp", {}, "http_redirect: subject: 'smtp' is none of entra"),
        ("secret_expired", "nobody", {}, "secret_expired: subject: there is no app 'nobody'"),
        ("mailbox_full", "billing-mailer", {}, "mailbox_full: subject: there is no mailbox 'billing-mailer'"),
        ("mailbox_full", None, {}, "mailbox_full: subject: expected the name of a mailbox, got None"),
        ("silent", "smtp", {}, "silent: phase: Field required"),
        ("silent", "entra", {"phase": "banner"}, "silent: phase: 'banner' is none of tls, discovery, token"),
        ("http_slow", "entra", {"phase": "tls"}, "http_slow: phase: 'tls' is none of discovery, token"),
        ("drip", "smtp", {"phase": "auth", "seconds_per_byte": 0}, "drip: seconds_per_byte: Input should be greater"),
        ("refused", "smtp", {"phase": "auth"}, "refused: phase: Extra inputs are not permitted"),
        ("certificate", "smtp", {"problem": "ugly"}, "certificate: problem: Input should be 'expired', "),
        (
            "smtp_reply",
            "smtp",
            {"phase": "ehlo", "reply": "500 no", "mailbox": BILLING},
            "smtp_reply: mailbox: not known before the phase auth",
        ),
        (
            "smtp_reply",
            "smtp",
            {"phase": "auth", "reply": "500 no", "mailbox": "nobody@contoso.example"},
            "smtp_reply: mailbox: there is no mailbox 'nobody@contoso.example'",
        ),
    ],
)
async def test_a_fault_that_cannot_be_is_refused_with_its_place(
    office: Microsoft365, name: object, subject: object, settings: dict[str, object], words: str
) -> None:
    """A wrong fault says what is wrong with it, and nothing is in force."""
    with pytest.raises(FaultError) as refused:
        await office.inject(name, subject, settings)
    assert str(refused.value).startswith(words)
    assert {} == office.world.faults


async def test_the_latest_of_two_faults_of_a_phase_is_shown(office: Microsoft365, peer: Peer) -> None:
    """When two faults meet in a phase, the later one bites; repairing it lets the earlier one bite again."""

    def banner() -> int:
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            smtplib.SMTP("localhost", office.smtp_port, timeout=10)
        return refused.value.smtp_code

    await office.inject("smtp_reply", "smtp", {"phase": "banner", "reply": "421 first"})
    later = await office.inject("smtp_reply", "smtp", {"phase": "banner", "reply": "554 second"})
    codes = [await asyncio.to_thread(banner)]
    await office.repair(later.id)
    codes.append(await asyncio.to_thread(banner))
    assert [554, 421] == codes


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize("phase", SMTP_PHASES)
async def test_an_smtp_fault_bites_in_its_phase_and_not_before(office: Microsoft365, peer: Peer, phase: str) -> None:
    """Every phase before the broken one is answered properly."""
    token = await asyncio.to_thread(peer.token)
    await office.inject("closed", "smtp", {"phase": phase})
    lines = [
        ("ehlo2", "EHLO probe.example"),
        ("auth", f"AUTH XOAUTH2 {xoauth2(BILLING, token)}"),
        ("mail", f"MAIL FROM:<{BILLING}>"),
        ("rcpt", f"RCPT TO:<{CANARY}>"),
        ("data", "DATA"),
        ("accept", f"{MESSAGE}."),
        ("quit", "QUIT"),
    ]
    answered: list[str] = []

    def say(connection: socket.socket, name: str, line: str) -> None:
        if not exchange(connection, f"{line}\r\n".encode() if line else b""):
            raise ConnectionError
        answered.append(name)

    def talk() -> None:
        with socket.create_connection(("localhost", office.smtp_port), timeout=10) as plain:
            for name, line in (("banner", ""), ("ehlo", "EHLO probe.example"), ("starttls", "STARTTLS")):
                say(plain, name, line)
            with peer.tls.wrap_socket(plain, server_hostname="localhost") as tls:
                answered.append("tls")
                for name, line in lines:
                    say(tls, name, line)

    with pytest.raises(OSError):  # noqa: PT011  each phase ends in its own way
        await asyncio.to_thread(talk)
    assert list(SMTP_PHASES[: SMTP_PHASES.index(phase)]) == answered
