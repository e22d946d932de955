"""A real Postfix: STARTTLS required, XOAUTH2 asked of Dovecot, sender ownership enforced, delivery to Dovecot.

Its configuration, queue and log live in a directory of their own; the machine's Postfix is not touched. Only root
can start one (its master changes users). No mail leaves it: whatever is not for the test domain is refused at RCPT.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers.authority import PrivateCA
from tests.peers.available import PeerMissingError, program
from tests.peers.dovecot import Dovecot
from tests.peers.mailboxes import DOMAIN, Mailboxes
from tests.peers.process import HOST, accepts, free_port, running, temporary_home

PACKAGE = "postfix"

# Stock Postfix reads 2,048 characters of a command line (line_length_limit, postconf(5)), less than AUTH with a token
# of Entra ID's length. Whoever serves such tokens must raise it.
STOCK_LINE_LIMIT = 2048
_RAISED_LINE_LIMIT = 16384

# postfix-files(5): the queue's directories, those that belong to mail_owner, and those the setgid group may enter.
_OWNED = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")
_SHARED = ("maildrop", "public")


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running Postfix; its mailboxes are Dovecot's."""

    host: str
    port: int
    """SMTP with STARTTLS; takes long AUTH lines."""
    stock_port: int
    """The same with the stock line limit: a long token as initial response is cut and refused with 535."""
    log_file: Path
    ca_file: Path
    mailboxes: Mailboxes


@contextmanager
def running_postfix(authority: PrivateCA, dovecot: Dovecot) -> Iterator[Postfix]:
    """A Postfix in front of this Dovecot; PeerMissingError when it is not installed or we are not root."""
    postconf = program("postconf", PACKAGE)
    if os.geteuid() != 0:
        raise PeerMissingError("Postfix (Debian package postfix) can only be started by root: run these tests as root")
    daemons = _parameter(postconf, "daemon_directory")
    with temporary_home("postfix") as home:
        server = Postfix("localhost", free_port(), free_port(), home / "log", authority.ca_file, dovecot.mailboxes)
        _write(home, server, authority, dovecot)
        _make_queue(home / "queue", home / "data")
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
    main.write_text(
        _MAIN.format(
            home=home,
            host=HOST,
            domain=DOMAIN,
            authority=authority,
            dovecot=dovecot,
            limit=_RAISED_LINE_LIMIT,
            mailboxes=_inline(dict.fromkeys(server.mailboxes.existing(), "exists")),
            owners=_inline(server.mailboxes.owners()),
        )
    )
    master.write_text(_MASTER.format(host=HOST, server=server, stock=STOCK_LINE_LIMIT))
    for file in (main, master):
        os.utime(file, (0, 0))  # Postfix waits for a file younger than two seconds: it might still be written to


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
inet_interfaces = {host}
inet_protocols = ipv4
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

smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = {authority.certificate_file}
smtpd_tls_key_file = {authority.key_file}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {dovecot.auth_socket}
smtpd_sasl_security_options = noanonymous
smtpd_sender_login_maps = {owners}
smtpd_sender_restrictions = reject_sender_login_mismatch
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
line_length_limit = {limit}
# Stock Postfix slows down clients that make mistakes; the tests make them on purpose.
smtpd_error_sleep_time = 0
smtpd_peername_lookup = no
"""

_MASTER = """\
{host}:{server.port} inet n - n - - smtpd
{host}:{server.stock_port} inet n - n - - smtpd -o line_length_limit={stock}
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
anvil      unix  - - n -    1 anvil
tlsmgr     unix  - - n 1000? 1 tlsmgr
postlog    unix-dgram n - n - 1 postlogd
"""
