"""A mail server in a thread that greets in SMTP, IMAP or POP and shows whatever certificate it is given."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from checks.core.kit import Ip, Network
from checks.core.model import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOST = "mail.example"
_WAIT_S = 5.0


class Authority:
    """A root that the client trusts by `ca_file`, an intermediate below it, and what servers may show."""

    def __init__(self, directory: Path) -> None:
        self.ca_file = str(directory / "root.pem")
        self._root = trustme.CA(organization_name="Root")
        self._middle = self._root.create_child_ca()
        self._directory = directory
        self._root.cert_pem.write_to_path(self.ca_file)

    def good(self, *, days: float = 90, begins: float = -1) -> ssl.SSLContext:
        """A chain with its intermediate, for `HOST`; it ends `days` from now."""
        return _context(self._issue(HOST, days, begins))

    def problem(self, name: str) -> ssl.SSLContext:
        """A chain that must be refused."""
        match name:
            case "expired":
                return self.good(days=-1, begins=-90)
            case "not_yet_valid":
                return self.good(days=90, begins=1)
            case "wrong_name":
                return _context(self._issue("other.example", 90, -1))
            case "unknown_ca":
                return _context(trustme.CA().create_child_ca().issue_cert(HOST))
            case "self_signed":
                return self._self_signed()
            case "missing_intermediate":
                return self._alone(self._issue(HOST, 90, -1))
        raise AssertionError(name)

    def many_names(self, count: int) -> ssl.SSLContext:
        """A refused chain whose leaf is for very many hosts, with an address among its names."""
        names = [f"host-{number}.{'x' * 60}.example" for number in range(count)]
        return _context(
            trustme.CA().issue_cert("someone@contoso.example", *names, common_name="someone@contoso.example")
        )

    def _issue(self, host: str, days: float, begins: float) -> trustme.LeafCert:
        now = datetime.now(UTC)
        return self._middle.issue_cert(
            host, not_before=now + timedelta(days=begins), not_after=now + timedelta(days=days)
        )

    def _alone(self, leaf: trustme.LeafCert) -> ssl.SSLContext:
        place = self._directory / "alone.pem"
        leaf.private_key_pem.write_to_path(str(place))
        leaf.cert_chain_pems[0].write_to_path(str(place), append=True)
        return _loaded(place)

    def _self_signed(self) -> ssl.SSLContext:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=90))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        place, pem = self._directory / "self.pem", serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        place.write_bytes(private + certificate.public_bytes(pem))
        return _loaded(place)


def _context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


def _loaded(place: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place)
    return context


@dataclass
class Names:
    """A resolver that knows one host, on a network of one's own."""

    ips: tuple[str, ...]
    network: Network

    async def resolve(self, host: str) -> tuple[Ip, ...]:
        """The addresses of `HOST`."""
        assert host == HOST
        return tuple(Ip(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip) for ip in self.ips)


_STARTED = {
    Protocol.SMTP: (b"STARTTLS", b"220 go\r\n"),
    Protocol.IMAP: (b"STARTTLS", b"%s OK go\r\n"),
    Protocol.POP: (b"STLS", b"+OK go\r\n"),
}


def _smtp(line: bytes, mechanisms: str) -> bytes:
    if line.upper().startswith(b"QUIT"):
        return b"221 bye\r\n"
    return f"250-{HOST}\r\n250-STARTTLS\r\n250 AUTH {mechanisms}\r\n".encode()


def _imap(line: bytes, mechanisms: str) -> bytes:
    tag, _, command = line.strip().partition(b" ")
    if command.upper().startswith(b"LOGOUT"):
        return b"* BYE\r\n%s OK bye\r\n" % tag
    offered = " ".join(f"AUTH={name}" for name in mechanisms.split())
    return f"* CAPABILITY IMAP4rev1 STARTTLS {offered}\r\n".encode() + b"%s OK done\r\n" % tag


def _pop(line: bytes, mechanisms: str) -> bytes:
    if line.upper().startswith(b"QUIT"):
        return b"+OK bye\r\n"
    return f"+OK\r\nSTLS\r\nUSER\r\nSASL {mechanisms}\r\n.\r\n".encode()


_GREETINGS = {Protocol.SMTP: b"220 hi\r\n", Protocol.IMAP: b"* OK hi\r\n", Protocol.POP: b"+OK hi\r\n"}
_ANSWERS: dict[Protocol, Callable[[bytes, str], bytes]] = {
    Protocol.SMTP: _smtp,
    Protocol.IMAP: _imap,
    Protocol.POP: _pop,
}


@contextmanager
def mail_host(
    context: ssl.SSLContext,
    *,
    protocol: Protocol = Protocol.SMTP,
    implicit: bool = False,
    ip: str = "127.0.0.1",
    mechanisms: str = "LOGIN XOAUTH2",
) -> Iterator[int]:
    """The server's port while the block lasts. It serves one connection after the other."""
    with socket.create_server((ip, 0), family=socket.AF_INET6 if ":" in ip else socket.AF_INET) as listener:
        talk = partial(_talk, context=context, protocol=protocol, implicit=implicit, mechanisms=mechanisms)
        serving = threading.Thread(target=_serve, args=(listener, talk))
        serving.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread, which a close alone would not
            serving.join()


def _serve(listener: socket.socket, talk: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):  # the client leaves when it has seen enough
            connection.settimeout(_WAIT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else answers in TLS are 40 ms late
            talk(connection)


def _talk(
    connection: socket.socket, *, context: ssl.SSLContext, protocol: Protocol, implicit: bool, mechanisms: str
) -> None:
    command, go_ahead = _STARTED[protocol]
    sock = context.wrap_socket(connection, server_side=True) if implicit else connection
    try:
        sock.sendall(_GREETINGS[protocol])
        while line := _line(sock):
            words = line.upper().split()
            if command in words[:2]:
                sock.sendall(go_ahead % words[0] if b"%s" in go_ahead else go_ahead)
                sock = context.wrap_socket(sock, server_side=True)
            else:
                sock.sendall(_ANSWERS[protocol](line, mechanisms))
                if b"QUIT" in words or b"LOGOUT" in words:
                    return
    finally:
        sock.close()


def _line(sock: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (byte := sock.recv(1)):
        line += byte
    return line
