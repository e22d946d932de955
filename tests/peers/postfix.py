"""A real Postfix: STARTTLS required, XOAUTH2 asked of Dovecot, sender ownership enforced, delivery to Dovecot.

Its configuration, queue and log live in a directory of their own; the machine's Postfix is not touched. Only root
can start one (its master changes users). No mail leaves it: whatever is not for the test domain is refused at RCPT.
What is special about a mailbox (see mailboxes.py) befalls its mail after Postfix has accepted it, as everywhere.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.authority import PrivateCA
from tests.peers.available import PeerMissingError, program
from tests.peers.dovecot import Dovecot
from tests.peers.mailboxes import DOMAIN, Mailboxes
from tests.peers.process import HOST, accepts, free_port, loopback, running, temporary_home, wait_until

PACKAGE = "postfix"

# Stock Postfix reads 2,048 characters of a command line (line_length_limit, postconf(5)), less than AUTH with a token
# of Entra ID's length. Whoever serves such tokens must raise it.
STOCK_LINE_LIMIT = 2048
_RAISED_LINE_LIMIT = 16384

# postfix-files(5): the queue's directories, those that belong to mail_owner, and those the setgid group may enter.
_OWNED = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")
_SHARED = ("maildrop", "public")
_QUEUE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Ports:
    """Two ports that differ in how TLS begins."""

    starttls: int
    implicit: int


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix; its mailboxes are Dovecot's."""

    host: str
    port: int
    """SMTP with STARTTLS; takes long AUTH lines."""
    stock_port: int
    """The same with the stock line limit: a long token as initial response is cut and refused with 535."""
    implicit_port: int
    """SMTP in TLS from the start."""
    flawed: Mapping[str, Ports]
    """Where a certificate is shown that must be refused, by what is wrong with it."""
    home: Path
    ca_file: Path
    mailboxes: Mailboxes

    @property
    def log_file(self) -> Path:
        """What Postfix says."""
        return self.home / "log"

    def queue_of(self, address: str) -> str:
        """The queue in which mail for this address lies (`incoming`, `active`, `hold`, `deferred`); empty for none."""
        listed = self._tool("postqueue", "-j").splitlines()
        entries = [json.loads(line) for line in listed]
        return next((entry["queue_name"] for entry in entries if _is_for(entry, address)), "")

    def comes_to(self, queue: str, address: str) -> bool:
        """Whether mail for this address lies in that queue, or comes to lie there within seconds (blocks)."""
        return wait_until(lambda: queue == self.queue_of(address), _QUEUE_SECONDS)

    def release(self) -> None:
        """Let go whatever is held, and try to deliver it at once."""
        self._tool("postsuper", "-H", "ALL")
        self.flush()

    def flush(self) -> None:
        """Try at once to deliver whatever is deferred."""
        self._tool("postqueue", "-f")

    def forget(self) -> None:
        """Empty every queue."""
        self._tool("postsuper", "-d", "ALL")

    @contextmanager
    def deliver_to_away(self, dovecot: Dovecot) -> Iterator[None]:
        """While the block lasts, somebody takes the mail of the mailbox `away`."""
        _away(self.home).symlink_to(dovecot.lmtp_socket)
        try:
            yield
        finally:
            _away(self.home).unlink()

    def _tool(self, name: str, *arguments: str) -> str:
        argv = [program(name, PACKAGE), "-c", self.home, *arguments]
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def running_postfix(authority: PrivateCA, dovecot: Dovecot) -> Iterator[Postfix]:
    """A Postfix in front of this Dovecot; PeerMissingError when it is not installed or we are not root."""
    postconf = program("postconf", PACKAGE)
    if os.geteuid() != 0:
        raise PeerMissingError("Postfix (Debian package postfix) can only be started by root: run these tests as root")
    daemons = _parameter(postconf, "daemon_directory")
    with temporary_home("postfix") as home:
        server = Postfix(
            host="localhost",
            port=free_port(),
            stock_port=free_port(),
            implicit_port=free_port(),
            flawed={flaw: Ports(free_port(), free_port()) for flaw in authority.flawed},
            home=home,
            ca_file=authority.ca_file,
            mailboxes=dovecot.mailboxes,
        )
        _write(home, server, authority, dovecot)
        _make_queue(home / "queue", home / "data")
        server.log_file.touch()
        server.log_file.chmod(0o666)  # while postlogd is busy, everybody writes here, rights dropped or not
        with running(
            # -d: stay in the foreground and keep the output
            [Path(daemons) / "master", "-d", "-c", home],
            log=server.log_file,
            ready=lambda: accepts(server.port) and accepts(server.stock_port),
        ):
            yield server


def _parameter(postconf: Path, name: str) -> str:
    """A compiled-in default of this Postfix."""
    return subprocess.run([postconf, "-dh", name], check=True, capture_output=True, text=True).stdout.strip()


def _make_queue(queue: Path, data: Path) -> None:
    queue.mkdir()
    (queue / "pid").mkdir()
    data.mkdir()
    shutil.chown(data, "postfix")
    for name in _OWNED:
        (queue / name).mkdir(mode=0o700)
        shutil.chown(queue / name, "postfix")
    for name in _SHARED:
        (queue / name).mkdir()
        (queue / name).chmod(0o730)
        shutil.chown(queue / name, "postfix", "postdrop")


def _write(home: Path, server: Postfix, authority: PrivateCA, dovecot: Dovecot) -> None:
    main, master = home / "main.cf", home / "master.cf"
    hosts, mailboxes = [f"[{host}]" if ":" in host else host for host in loopback()], server.mailboxes
    main.write_text(
        _MAIN.format(
            home=home,
            hosts=", ".join(hosts),
            families="all" if len(hosts) > 1 else "ipv4",
            domain=DOMAIN,
            authority=authority,
            dovecot=dovecot,
            limit=_RAISED_LINE_LIMIT,
            mailboxes=_inline(dict.fromkeys(mailboxes.existing(), "exists")),
            owners=_inline(mailboxes.owners()),
            fates=_inline({mailboxes.held: "HOLD", mailboxes.swallowed: "DISCARD"}),
            ways=_inline({mailboxes.away: f"lmtp:unix:{_away(home)}"}),
            aliases=_filed(mailboxes.junked, "Junk Email"),
        )
    )
    master.write_text("".join(_services(hosts, server, authority)) + _MASTER)
    for file in (main, master):
        os.utime(file, (0, 0))  # Postfix waits for a file younger than two seconds: it might still be written to


def _services(hosts: Iterable[str], server: Postfix, authority: PrivateCA) -> Iterator[str]:
    """Lines of master.cf: who listens where, on every loopback address of this machine. The last is ready last."""
    for flaw, ports in server.flawed.items():
        files = authority.flawed[flaw]
        shown = f" -o smtpd_tls_cert_file={files.certificate_file} -o smtpd_tls_key_file={files.key_file}"
        yield f"{HOST}:{ports.starttls} inet n - n - - smtpd{shown}\n"
        yield f"{HOST}:{ports.implicit} inet n - n - - smtpd{shown} -o smtpd_tls_wrappermode=yes\n"
    for host in hosts:
        yield f"{host}:{server.implicit_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
        yield f"{host}:{server.port} inet n - n - - smtpd\n"
    yield f"{HOST}:{server.stock_port} inet n - n - - smtpd -o line_length_limit={STOCK_LINE_LIMIT}\n"


def _away(home: Path) -> Path:
    """The socket to which the mail of the mailbox `away` is delivered."""
    return home / "away"


def _is_for(entry: dict[str, Any], address: str) -> bool:
    """Whether a line of `postqueue -j` is about mail for this address."""
    return any(recipient["address"] == address for recipient in entry["recipients"])


def _filed(address: str, folder: str) -> str:
    """A lookup table that makes Dovecot file the mail of a mailbox in a folder: user+folder@domain."""
    user, _, domain = address.partition("@")
    return f'inline:{{ {{ {address} = "{user}+{folder}"@{domain} }} }}'


def _inline(table: dict[str, str]) -> str:
    """A lookup table in the configuration itself (DATABASE_README, inline)."""
    return "inline:{ " + ", ".join(f"{key}={value}" for key, value in table.items()) + " }"


_MAIN = """\
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
maillog_file = {home}/log
maillog_file_prefixes = {home}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = {hosts}
inet_protocols = {families}
myhostname = mail.{domain}
mydestination =
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
biff = no
# Other domains are refused at RCPT; were one to slip through, it would end here.
default_transport = error:no mail leaves the tests

virtual_mailbox_domains = {domain}
virtual_mailbox_maps = {mailboxes}
virtual_transport = lmtp:unix:{dovecot.lmtp_socket}
virtual_alias_maps = {aliases}
transport_maps = {ways}

smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {authority.certificate_file}
smtpd_tls_key_file = {authority.key_file}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {dovecot.auth_socket}
smtpd_sasl_security_options = noanonymous
smtpd_sender_login_maps = {owners}
smtpd_sender_restrictions = reject_sender_login_mismatch, check_recipient_access {fates}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
line_length_limit = {limit}
# Stock Postfix slows down clients that make mistakes; the tests make them on purpose.
smtpd_error_sleep_time = 0
smtpd_peername_lookup = no
"""

_MASTER = """\
pickup     unix  n - n 60   1 pickup
cleanup    unix  n - n -    0 cleanup
qmgr       unix  n - n 300  1 qmgr
rewrite    unix  - - n -    - trivial-rewrite
bounce     unix  - - n -    0 bounce
defer      unix  - - n -    0 bounce
trace      unix  - - n -    0 bounce
verify     unix  - - n -    1 verify
proxymap   unix  - - n -    - proxymap
lmtp       unix  - - n -    - lmtp
error      unix  - - n -    - error
retry      unix  - - n -    - error
showq      unix  n - n -    - showq
anvil      unix  - - n -    1 anvil
tlsmgr     unix  - - n 1000? 1 tlsmgr
postlog    unix-dgram n - n - 1 postlogd
"""
