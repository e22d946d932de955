"""The hop behind Dovecot's submission service, which relays by SMTP only while its own delivery speaks LMTP.

Two differences part the protocols (RFC 2033, section 4): the greeting is LHLO, and the final dot is answered once for
every accepted recipient. This hop translates both and forwards all else, so that every verdict is Dovecot's own.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

from tests.peers.process import HOST

# No PIPELINING, so commands come one by one; no CHUNKING, so messages come as DATA.
_GREETING = b"250-relay.canary.test\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
_SILENCE_SECONDS = 30.0


@contextlib.contextmanager
def running_relay(lmtp_socket: Path) -> Iterator[int]:
    """An SMTP port on loopback that delivers to this LMTP socket, which need not exist yet; gives the port."""

    class Connection(StreamRequestHandler):
        timeout = _SILENCE_SECONDS

        def handle(self) -> None:
            # A peer that goes away ends the conversation; Dovecot tells its client.
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as lmtp:
                lmtp.settimeout(_SILENCE_SECONDS)
                lmtp.connect(str(lmtp_socket))
                with lmtp.makefile("rb") as answers:
                    _converse(self.rfile, self.connection, lmtp, answers)

    with ThreadingTCPServer((HOST, 0), Connection) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="relay")
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _converse(commands: BufferedIOBase, client: socket.socket, lmtp: socket.socket, answers: BufferedIOBase) -> None:
    client.sendall(_reply(answers))
    recipients = 0
    while command := commands.readline():
        verb = command[:4].upper()
        if verb in {b"EHLO", b"HELO"}:
            lmtp.sendall(b"LHLO" + command[4:])
            _reply(answers)
            client.sendall(_GREETING)
            continue
        lmtp.sendall(command)
        reply = _reply(answers)
        if verb == b"DATA" and reply.startswith(b"354"):
            client.sendall(reply)
            while (line := _line(commands)) != b".\r\n":
                lmtp.sendall(line)
            lmtp.sendall(line)
            # One refusal refuses the message: a test sends to one recipient, or wants to know.
            reply = max(_reply(answers) for _ in range(recipients))
        if verb == b"RCPT" and reply.startswith(b"250"):
            recipients += 1
        elif verb in {b"MAIL", b"RSET", b"DATA"}:
            recipients = 0
        client.sendall(reply)


def _reply(answers: BufferedIOBase) -> bytes:
    """One whole reply: its lines have a hyphen after the code, except the last (RFC 5321, section 4.2.1)."""
    reply = line = _line(answers)
    while line[3:4] == b"-":
        line = _line(answers)
        reply += line
    return reply


def _line(stream: BufferedIOBase) -> bytes:
    """The next line; ConnectionResetError when there is none, so that half a message is never ended with a dot."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ConnectionResetError
    return line
