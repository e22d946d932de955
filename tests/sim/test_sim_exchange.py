"""The simulated Exchange Online, seen by smtplib and by a bare socket: sessions, TLS and AUTH."""

from __future__ import annotations

import asyncio
import base64
import re
import smtplib
import socket
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from monitor.sim.contoso import BILLING_ID, TENANT_ID
from monitor.sim.records import Mailbox, Permission
from tests.sim.sim_peer import BILLING, CANARY, Peer, exchange, xoauth2
from tests.sim.submission import AUTH_FAILED, MESSAGE, NO_LOGON, auth, is_refusal, submitted, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from monitor.sim import Microsoft365


async def test_the_dialogue_is_that_of_the_real_server(peer: Peer) -> None:
    """Every reply of a healthy session reads as in a transcript of smtp.office365.com."""

    def talk() -> list[str]:
        with socket.create_connection(("localhost", peer.office.smtp_port), timeout=10) as plain:
            said = [exchange(plain, b""), exchange(plain, b"EHLO probe.example\r\n"), exchange(plain, b"STARTTLS\r\n")]
            encoded = xoauth2(BILLING, peer.token()).encode()
            with peer.tls.wrap_socket(plain, server_hostname="localhost") as tls:
                for sent in (
                    b"EHLO probe.example\r\n",
                    b"AUTH XOAUTH2\r\n",
                    encoded + b"\r\n",
                    f"MAIL FROM:<{BILLING}> SIZE=200 BODY=8BITMIME\r\n".encode(),
                    f"RCPT TO:<{CANARY}>\r\n".encode(),
                    b"DATA\r\n",
                    MESSAGE.encode() + b".\r\n",
                    b"NOOP\r\n",
                    b"RSET\r\n",
                    b"QUIT\r\n",
                ):
                    said.append(exchange(tls, sent))  # noqa: PERF401  each needs the one before
            return said

    host = r"[A-Z0-9]+\.[A-Z0-9]+\.PROD\.OUTLOOK\.COM"
    day = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d \+0000"
    hello = rf"250-{host} Hello \[127\.0\.0\.1\]\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-DSN\r\n"
    after = r"250-8BITMIME\r\n250-BINARYMIME\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n"
    expected = [
        rf"220 {host} Microsoft ESMTP MAIL Service ready at {day} \[[0-9A-F]{{16}}\]\r\n",
        rf"{hello}250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n{after}",
        r"220 2\.0\.0 SMTP server ready\r\n",
        rf"{hello}250-ENHANCEDSTATUSCODES\r\n250-AUTH LOGIN XOAUTH2\r\n{after}",
        r"334 \r\n",
        r"235 2\.7\.0 Authentication successful\r\n",
        r"250 2\.1\.0 Sender OK\r\n",
        r"250 2\.1\.5 Recipient OK\r\n",
        r"354 Start mail input; end with <CRLF>\.<CRLF>\r\n",
        rf"250 2\.0\.0 OK <[^<>]+> \[Hostname={host}\]\r\n",
        r"250 2\.0\.0 OK\r\n",
        r"250 2\.0\.0 Resetting\r\n",
        r"221 2\.0\.0 Service closing transmission channel\r\n",
    ]
    said = await asyncio.to_thread(talk)
    assert [] == [
        (pattern, line) for pattern, line in zip(expected, said, strict=True) if not re.fullmatch(pattern, line)
    ]


async def test_an_initial_response_is_taken_too(peer: Peer) -> None:
    """AUTH works with the token on its own line and with the token on the AUTH line."""
    assert "235 2.7.0 Authentication successful" == await asyncio.to_thread(auth, peer)


BAD_LOG_ONS: dict[str, Callable[[Peer], tuple[str, str]]] = {
    "not-a-token": lambda _: (BILLING, "abc"),
    "graph-token": lambda peer: (BILLING, peer.token(scope="https://graph.microsoft.com/.default")),
    "other-mailbox": lambda peer: ("nobody@contoso.example", peer.token()),
    "forged": lambda peer: (BILLING, forged(peer)),
}


def forged(peer: Peer) -> str:
    """A token with the right claims and a wrong signature."""
    claims = jwt.decode(peer.token(), options={"verify_signature": False})
    return jwt.encode(claims, peer.certificate.key, "RS256")


@pytest.mark.parametrize("spoil", BAD_LOG_ONS.values(), ids=BAD_LOG_ONS.keys())
async def test_a_bad_log_on_is_refused_without_a_challenge(
    peer: Peer, spoil: Callable[[Peer], tuple[str, str]]
) -> None:
    """Many causes share one sentence, and it comes at once."""
    reply = await asyncio.to_thread(lambda: auth(peer, *spoil(peer)))
    assert is_refusal(AUTH_FAILED, reply)


async def test_an_expired_token_is_refused(signing_key: Any, office: Microsoft365, peer: Peer) -> None:
    """Times in the token are compared with the world's clock."""
    token = await asyncio.to_thread(peer.token)
    claims = jwt.decode(token, options={"verify_signature": False})
    at = office.world.now().timestamp()
    old = jwt.encode({**claims, "exp": int(at) - 1}, signing_key, "RS256")
    early = jwt.encode({**claims, "nbf": int(at) + 600}, signing_key, "RS256")
    replies = [await asyncio.to_thread(auth, peer, BILLING, one) for one in (old, early)]
    assert [True, True] == [is_refusal(AUTH_FAILED, reply) for reply in replies]


async def test_a_token_of_another_tenant_is_refused(office: Microsoft365, peer: Peer) -> None:
    """A mailbox is open to apps of its own tenant only."""
    office.world.declare(Mailbox("box@fabrikam.example", "22222222-0000-4000-8000-000000000000"))
    assert is_refusal(AUTH_FAILED, await asyncio.to_thread(auth, peer, "box@fabrikam.example"))


@pytest.mark.parametrize("encoded", ["!!!", "", "dXNlcj1h", base64.b64encode(b"\xff\xfe").decode()])
async def test_a_malformed_string_gets_the_error_that_looks_transient(peer: Peer, encoded: str) -> None:
    """What is no XOAUTH2 string gets 451 and PRX4, every time."""

    def talk() -> str:
        with peer.smtp() as session:
            session.docmd("AUTH", "XOAUTH2")
            return text(session.docmd(encoded))

    expected = "451 4.7.0 Temporary server error. Please try again later. PRX4"
    assert is_refusal(expected, await asyncio.to_thread(talk))


async def test_auth_can_be_cancelled(peer: Peer) -> None:
    """A star in place of the token ends the exchange (RFC 4954, 4)."""

    def talk() -> list[str]:
        with peer.smtp() as session:
            return [text(session.docmd("AUTH", "XOAUTH2")), text(session.docmd("*"))]

    asked, cancelled = await asyncio.to_thread(talk)
    assert "334 " == asked
    assert is_refusal("501 5.7.0 Authentication aborted", cancelled)


async def test_basic_authentication_is_offered_and_refused(peer: Peer) -> None:
    """AUTH LOGIN asks for both halves and says that it is switched off."""

    def talk() -> list[str]:
        with peer.smtp() as session:
            return [text(session.docmd(*line)) for line in (("AUTH", "LOGIN"), ("dQ==",), ("cA==",))]

    *asked, refused = await asyncio.to_thread(talk)
    assert ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"] == asked
    assert is_refusal("535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", refused)


@pytest.mark.parametrize(
    ("fault", "subject", "expected"),
    [
        (
            "smtp_auth_disabled_tenant",
            "contoso.example",
            (
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit "
                "https://aka.ms/smtp_auth_disabled for more information."
            ),
        ),
        (
            "smtp_auth_disabled_mailbox",
            BILLING,
            (
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit "
                "https://aka.ms/smtp_auth_disabled for more information."
            ),
        ),
        ("consent_revoked", "billing-mailer", AUTH_FAILED),
        ("exchange_unregistered", "billing-mailer", AUTH_FAILED),
    ],
)
async def test_a_broken_set_up_is_refused_at_auth(
    office: Microsoft365, peer: Peer, fault: str, subject: str, expected: str
) -> None:
    """Each mistake of an Exchange administrator shows the sentence that it shows in reality."""
    await office.inject(fault, subject)
    assert is_refusal(expected, await asyncio.to_thread(auth, peer))


async def test_a_mailbox_that_is_switched_on_ignores_the_tenant(office: Microsoft365, peer: Peer) -> None:
    """The mailbox's own switch wins over the organisation's."""
    await office.inject("smtp_auth_disabled_tenant", "contoso.example")
    office.world.declare(Mailbox(BILLING, TENANT_ID, smtp_auth_disabled=False))
    assert "235 2.7.0 Authentication successful" == await asyncio.to_thread(auth, peer)


async def test_a_missing_permission_may_show_at_auth(office: Microsoft365, peer: Peer) -> None:
    """Both of the two seen answers to a missing permission can be had."""
    await office.inject("permission_missing", BILLING, {"refused_at": "auth"})
    assert is_refusal(AUTH_FAILED, await asyncio.to_thread(auth, peer))


async def test_rbac_needs_neither_role_nor_permission(office: Microsoft365, peer: Peer) -> None:
    """An app with an RBAC assignment sends with a token without roles, unless the role is there too."""
    rbac = Mailbox(BILLING, TENANT_ID, permission=Permission.NONE, rbac_apps=(BILLING_ID,))
    office.world.declare(rbac)
    with_role = await asyncio.to_thread(submitted, peer)
    await office.inject("consent_revoked", "billing-mailer")
    without_role = await asyncio.to_thread(submitted, peer)
    assert is_refusal(NO_LOGON, with_role)
    assert without_role.startswith("250 2.0.0 OK <")


async def test_commands_out_of_order_are_refused(peer: Peer) -> None:
    """Nothing can be sent before TLS and AUTH, and each command needs the one before."""

    def talk() -> list[str]:
        with smtplib.SMTP("localhost", peer.office.smtp_port, timeout=10) as plain:
            plain.ehlo()
            replies = [text(plain.docmd(line)) for line in (f"MAIL FROM:<{BILLING}>", "AUTH XOAUTH2", "BOGUS", "EHLO")]
        with peer.smtp() as secure:
            replies += [
                text(secure.docmd(line)) for line in (f"MAIL FROM:<{BILLING}>", "AUTH PLAIN", "STARTTLS", "DATA")
            ]
        with peer.logged_on() as session:
            replies += [text(session.docmd(line)) for line in ("AUTH XOAUTH2", f"RCPT TO:<{CANARY}>", "MAIL FROM:x")]
            session.mail(BILLING)
            replies += [text(session.docmd(line)) for line in (f"MAIL FROM:<{BILLING}>", "RCPT TO:x")]
        return replies

    expected = [
        "451 5.7.3 STARTTLS is required to send mail",
        "503 5.5.2 Send hello first",
        "500 5.3.3 Unrecognized command",
        "501 5.5.4 Invalid domain name",
        "530 5.7.57 Client not authenticated to send mail.",
        "504 5.7.4 Unrecognized authentication type",
        "500 5.3.3 Unrecognized command",
        "503 5.5.2 Need rcpt command",
        "503 5.5.1 Already authenticated",
        "503 5.5.2 Need mail command",
        "501 5.1.7 Invalid address",
        "503 5.5.2 Sender already specified",
        "501 5.1.3 Invalid address",
    ]
    replies = await asyncio.to_thread(talk)
    assert [] == [pair for pair in zip(expected, replies, strict=True) if not is_refusal(*pair)]


async def test_commands_may_be_sent_in_one_go(office: Microsoft365, peer: Peer) -> None:
    """Pipelined commands and a message are answered one by one, in order."""

    def talk() -> list[bytes]:
        with peer.logged_on() as session:
            one = f"MAIL FROM:<{BILLING}>\r\nRCPT TO:<{CANARY}>\r\nDATA\r\n{MESSAGE}.\r\n"
            session.send(one + one + "QUIT\r\n")
            replies = [session.getreply()[0] for _ in range(9)]
            return [str(code).encode() for code in replies]

    assert [b"250", b"250", b"354", b"250"] * 2 + [b"221"] == await asyncio.to_thread(talk)
    assert 2 == office.world.traffic_of(BILLING).messages_accepted


async def test_what_was_sent_before_tls_is_dropped(office: Microsoft365, peer: Peer) -> None:
    """A command smuggled in behind STARTTLS is never obeyed (RFC 3207, 5)."""

    def talk() -> list[str]:
        with socket.create_connection(("localhost", office.smtp_port), timeout=10) as plain:
            exchange(plain, b"")
            exchange(plain, b"EHLO probe.example\r\n")
            ready = exchange(plain, b"STARTTLS\r\nNOOP\r\n")
            with peer.tls.wrap_socket(plain, server_hostname="localhost") as tls:
                return [ready, exchange(tls, b"QUIT\r\n")]

    expected = ["220 2.0.0 SMTP server ready\r\n", "221 2.0.0 Service closing transmission channel\r\n"]
    assert expected == await asyncio.to_thread(talk)


async def test_a_line_without_end_is_cut_off(office: Microsoft365) -> None:
    """A line beyond the bound ends the session; the server does not collect it."""

    def talk() -> bytes:
        with socket.create_connection(("localhost", office.smtp_port), timeout=10) as plain:
            plain.recv(4096)
            plain.sendall(b"A" * 20_000)
            return plain.recv(4096)

    assert is_refusal("500 5.5.2 Syntax error, line too long", (await asyncio.to_thread(talk)).decode().strip())


async def test_a_client_that_says_nothing_is_let_go(office: Microsoft365, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server does not wait for ever."""
    monkeypatch.setattr("monitor.sim.exchange.IDLE_S", 0.01)

    def listen() -> bytes:
        with (
            socket.create_connection(("localhost", office.smtp_port), timeout=10) as plain,
            plain.makefile("rb") as said,
        ):
            return said.readlines()[-1]

    said = (await asyncio.to_thread(listen)).decode().strip()
    assert is_refusal("451 4.7.0 Timeout waiting for client input", said)


async def test_gmail_mode_asks_before_it_refuses(office: Microsoft365, peer: Peer) -> None:
    """With Gmail's challenge a refused token gets 334 first, and 535 after an empty line."""
    await office.inject("gmail_challenge", "smtp")

    def talk() -> list[str]:
        with peer.smtp() as session:
            return [text(session.docmd("AUTH", f"XOAUTH2 {xoauth2(BILLING, 'abc')}")), text(session.docmd(""))]

    challenge, refusal = await asyncio.to_thread(talk)
    assert b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}' == base64.b64decode(challenge[4:])
    assert is_refusal(AUTH_FAILED, refusal)


async def test_a_literal_reply_can_be_meant_for_one_mailbox(office: Microsoft365, peer: Peer) -> None:
    """A fault of one mailbox leaves the others alone."""
    reply = "451 4.7.0 Temporary server error. Please try again later. PRX4"
    await office.inject("smtp_reply", "smtp", {"phase": "auth", "reply": reply, "mailbox": BILLING})
    ours, other = [await asyncio.to_thread(auth, peer, user) for user in (BILLING, CANARY)]
    assert (reply, "235 2.7.0 Authentication successful") == (ours, other)


async def test_a_deleted_app_works_until_its_token_expires(office: Microsoft365, peer: Peer) -> None:
    """Access tokens cannot be revoked: Exchange goes on taking them."""
    token = await asyncio.to_thread(peer.token)
    await office.inject("app_missing", "billing-mailer")
    assert "235 2.7.0 Authentication successful" == await asyncio.to_thread(auth, peer, BILLING, token)
