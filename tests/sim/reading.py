"""Clients of the simulated IMAP and POP servers that share no code with the checks: imaplib and poplib."""

from __future__ import annotations

import base64
import imaplib
import poplib
import re
import socket
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from monitor.sim.contoso import PARTNER_INBOX, PARTNER_PASSWORD, READER_ID, READER_SECRET
from tests.sim.sim_peer import BILLING, CANARY, Peer, xoauth2

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL_FOLDERS = ["INBOX", "Drafts", "Sent Items", "Deleted Items", "Junk Email"]


def reader_token(peer: Peer, **changes: str) -> str:
    """A fresh token of mailcanary-reader."""
    return peer.token(client_id=READER_ID, client_secret=READER_SECRET, **changes)


@contextmanager
def connect(peer: Peer, port: int | None = None) -> Iterator[imaplib.IMAP4_SSL]:
    """An IMAP session that nobody has logged on to; it is closed whatever became of it."""
    session = imaplib.IMAP4_SSL("localhost", port or peer.office.imap_port, ssl_context=peer.tls, timeout=peer.timeout)
    try:
        yield session
    finally:  # imaplib's own end asks for LOGOUT first, which a server that has left does not answer
        session.file.close()
        session.sock.close()


def log_on(session: imaplib.IMAP4, user: str, token: str) -> str:
    """AUTHENTICATE XOAUTH2; the text that came with OK, or imaplib's own error with that of NO."""
    return str(
        session.authenticate("XOAUTH2", lambda _: f"user={user}\x01auth=Bearer {token}\x01\x01".encode())[1][0], "utf-8"
    )


@contextmanager
def reading(peer: Peer, user: str = CANARY, token: str | None = None) -> Iterator[imaplib.IMAP4_SSL]:
    """An IMAP session of mailcanary-reader in a mailbox."""
    fresh = token or reader_token(peer)
    with connect(peer) as session:
        log_on(session, user, fresh)
        yield session


@contextmanager
def partner(peer: Peer, password: str = PARTNER_PASSWORD) -> Iterator[imaplib.IMAP4_SSL]:
    """An IMAP session in the inbox at the partner's."""
    with connect(peer, peer.office.partner_imap_port) as session:
        session.login(PARTNER_INBOX, password)
        yield session


def command(session: imaplib.IMAP4, line: str) -> tuple[list[str], str]:
    """Send one command as it stands; the untagged lines and the tagged one, without its tag."""
    session.send(f"X1 {line}\r\n".encode())
    untagged: list[str] = []
    while True:
        answer = session.readline().decode().rstrip("\r\n")
        if not answer or answer.startswith("X1 "):
            return untagged, answer.removeprefix("X1 ")
        untagged.append(answer)


def message(ident: str, *, body: str = "Body.", sender: str = BILLING) -> str:
    """A message that can be found again by its id."""
    return (
        f"From: {sender}\r\nTo: {CANARY}\r\nSubject: Probe {ident}\r\nX-Probe-Id: {ident}\r\n"
        f"Message-ID: <{ident}@probe.example>\r\n\r\n{body}\r\n"
    )


def send(peer: Peer, ident: str, *recipients: str, body: str = "Body.") -> None:
    """Submit a message from billing and see it accepted."""
    with peer.logged_on() as session:
        session.sendmail(BILLING, recipients or (CANARY,), message(ident, body=body))


def found(session: imaplib.IMAP4, ident: str) -> dict[str, int]:
    """In how many copies a message is in each folder, where it is."""
    counts = {}
    for folder in ALL_FOLDERS:
        assert "OK" == session.select(f'"{folder}"', readonly=True)[0]
        uids = session.uid("SEARCH", "HEADER", "X-Probe-Id", ident)[1][0].split()
        if uids:
            counts[folder] = len(uids)
    return counts


def places(peer: Peer, ident: str, user: str = CANARY) -> dict[str, int]:
    """The same, in a session of its own."""
    with reading(peer, user) as session:
        return found(session, ident)


class _Pop(poplib.POP3_SSL):
    """A client that can be closed also when its greeting failed: poplib's own forgets its socket then."""

    kept: socket.socket | None = None

    def _create_socket(self, timeout: float) -> socket.socket:
        self.kept = super()._create_socket(timeout)  # type: ignore[misc]
        return self.kept


@contextmanager
def pop(peer: Peer) -> Iterator[poplib.POP3_SSL]:
    """A POP session that nobody has logged on to; it is closed whatever became of it."""
    session = _Pop.__new__(_Pop)
    try:
        session.__init__("localhost", peer.office.pop_port, timeout=peer.timeout, context=peer.tls)  # type: ignore[misc]
        yield session
    finally:
        with suppress(AttributeError):  # poplib has closed it already, or it never came so far
            session.file.close()
        if session.kept is not None:
            session.kept.close()


def pop_log_on(session: poplib.POP3, user: str, token: str) -> str:
    """AUTH XOAUTH2 in its two lines; the answer, whatever it is."""
    session._putcmd("AUTH XOAUTH2")
    challenge: bytes = session._getline()[0]
    if challenge != b"+ ":
        return challenge.decode()
    session._putcmd(xoauth2(user, token))
    return str(session._getline()[0], "utf-8")


def bracketed(greeting: bytes) -> str:
    """The server's name in a greeting: UTF-16 in base64."""
    name = re.search(rb"\[([A-Za-z0-9+/=]+)\]", greeting)
    assert name is not None
    return base64.b64decode(name[1]).decode("utf-16-le")


def imap_seen(peer: Peer) -> str:
    """What a client of IMAP sees in billing's mailbox, command by command."""
    lines = (
        "SELECT INBOX",
        "UID SEARCH ALL",
        "UID FETCH 1:* (FLAGS)",
        "UID STORE 1:* +FLAGS.SILENT (\\Seen)",
        "LOGOUT",
    )
    with reading(peer, BILLING) as session:
        return str([command(session, line)[1] for line in ('LIST "" "*"', *lines)])


def pop_seen(peer: Peer) -> str:
    """What a client of POP sees of billing's mailbox."""
    with pop(peer) as session:
        answers = [session.capa(), pop_log_on(session, BILLING, reader_token(peer)), session.stat(), session.quit()]
        return str(answers)


def arrival_seen(peer: Peer, ident: str) -> str:
    """Where a message from billing to the canary inbox arrives, and with which Message-ID."""
    send(peer, ident)
    with reading(peer) as session:
        where = found(session, ident)
        for folder in where:
            session.select(f'"{folder}"', readonly=True)
            own = session.uid("SEARCH", "HEADER", "Message-ID", f"{ident}@probe.example")[1][0].split()
            return f"{folder} {len(own)}"
        return "nowhere"


def certificate_end(peer: Peer, server: str) -> float:
    """When the certificate that a server shows ends, as a timestamp."""
    if server == "smtp":
        with peer.smtp() as smtp:
            shown = smtp.sock.getpeercert()  # type: ignore[union-attr]
    else:
        port: int = getattr(peer.office, f"{server}_port")
        with (
            socket.create_connection(("localhost", port), timeout=peer.timeout) as plain,
            peer.tls.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            shown = tls.getpeercert()
    return ssl.cert_time_to_seconds(shown["notAfter"])
