"""A real Dovecot: submission with STARTTLS, IMAP and POP with both, LMTP, and the auth server that Postfix asks.

XOAUTH2 and OAUTHBEARER tokens are checked against the issuer's public key, on this machine (`introspection_mode =
local`). Like Entra ID's, they carry no mailbox: a token of the tenant opens every mailbox but the disabled one. The
submission service stores what it takes by LMTP in the same Dovecot (see relay.py), so that no other server is needed.

Written for Dovecot 2.3; version 2.4 has another configuration language.
"""

import email
import email.policy
import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from tests.peers.authority import PrivateCA
from tests.peers.available import PeerMissingError, program
from tests.peers.mailboxes import Mailboxes
from tests.peers.oidc import Oidc
from tests.peers.process import HOST, accepts, free_port, loopback, running, temporary_home, wait_until
from tests.peers.relay import running_relay

PACKAGES = "dovecot-core dovecot-imapd dovecot-pop3d dovecot-submissiond dovecot-lmtpd"
_MODULES = Path("/usr/lib/dovecot")
_AUTH = "auth-postfix"
_LMTP = "lmtp-postfix"
_ARRIVAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Dovecot:
    """A running Dovecot and its mailboxes."""

    host: str
    submission_port: int
    """SMTP with STARTTLS. It refuses an AUTH line of more than about 1,000 characters: tokens take two steps. AUTH is
    offered before STARTTLS too, because a client at the server's own address counts as secure."""
    imap_port: int
    """IMAP with implicit TLS."""
    imap_clear_port: int
    """IMAP with STARTTLS."""
    pop_port: int
    """POP with implicit TLS."""
    pop_clear_port: int
    """POP with STLS."""
    auth_socket: Path
    """For Postfix's smtpd_sasl_path."""
    lmtp_socket: Path
    """For whoever delivers."""
    log_file: Path
    ca_file: Path
    mailboxes: Mailboxes
    mail_directory: Path

    def messages(self, address: str, folder: str = "") -> list[EmailMessage]:
        """What lies in the inbox of this mailbox, or in another folder of it, read from disk."""
        place = self.mail_directory / address / (f".{folder}" if folder else "")  # Maildir++
        files = [*place.glob("new/*"), *place.glob("cur/*")]
        return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]

    def holds(self, address: str, message_id: str, folder: str = "") -> bool:
        """Whether a message with this Message-ID lies in the folder now."""
        return any(message["Message-ID"] == message_id for message in self.messages(address, folder))

    def receives(self, address: str, message_id: str, folder: str = "") -> bool:
        """Whether the message is there, or comes within seconds (blocks; use a thread from a coroutine)."""
        return wait_until(lambda: self.holds(address, message_id, folder), _ARRIVAL_SECONDS)


@contextmanager
def running_dovecot(
    authority: PrivateCA,
    oidc: Oidc,
    *,
    passwords: Mapping[str, str] | None = None,
    introspection_url: str | None = None,
) -> Iterator[Dovecot]:
    """A Dovecot, as root or as an ordinary user; PeerMissingError when a package of it is missing or of another age.

    With `passwords`, these mailboxes may log in by password too. With `introspection_url`, tokens are not checked here:
    that URL is asked about each.
    """
    binary = _binary()
    with temporary_home("dovecot") as home, running_relay(home / "run" / _LMTP) as relay_port:
        server = Dovecot(
            host="localhost",
            submission_port=free_port(),
            imap_port=free_port(),
            imap_clear_port=free_port(),
            pop_port=free_port(),
            pop_clear_port=free_port(),
            auth_socket=home / "run" / _AUTH,
            lmtp_socket=home / "run" / _LMTP,
            log_file=home / "log",
            ca_file=authority.ca_file,
            mailboxes=Mailboxes(),
            mail_directory=home / "mail",
        )
        configuration = _write(home, server, authority, oidc, relay_port)
        _write_passwords(home, configuration, passwords or {})
        if introspection_url is not None:
            (home / "oauth2").write_text(_INTROSPECTED.format(url=introspection_url, ca_file=authority.ca_file))
        with running(
            [binary, "-F", "-c", configuration],
            log=server.log_file,
            ready=lambda: (
                server.lmtp_socket.exists()
                and accepts(server.submission_port)
                and accepts(server.imap_port)
                and accepts(server.pop_port)
            ),
        ):
            yield server


def _binary() -> Path:
    binary = program("dovecot", PACKAGES)
    for service in ("imap-login", "pop3-login", "submission-login", "lmtp"):
        if not (_MODULES / service).exists():
            raise PeerMissingError(f"Dovecot lacks {service}: apt-get install {PACKAGES}")
    version = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if not version.startswith("2.3."):
        raise PeerMissingError(
            f"These tests can drive dovecot-core 2.3 (Debian 12, Ubuntu 22.04, 24.04), not {version}"
        )
    return binary


def _write(home: Path, server: Dovecot, authority: PrivateCA, oidc: Oidc, relay_port: int) -> Path:
    """Everything Dovecot reads: its configuration, the token rules, the issuer's key, the lists of users."""
    for directory in ("run", "state", "mail"):
        (home / directory).mkdir()
    roles = _Roles.here()
    shutil.chown(server.mail_directory, roles.mail, roles.mail_group)

    # Dovecot 2.3 looks for the key at <dictionary>/<azp>/<alg>/<kid>.
    for app in oidc.apps.all():
        key_file = home / "keys" / app.client_id / "RS256" / oidc.key_id
        key_file.parent.mkdir(parents=True)
        key_file.write_text(oidc.public_key)

    mailboxes = server.mailboxes
    may_log_in = [address for address in mailboxes.existing() if address != mailboxes.disabled]
    (home / "logins").write_text("".join(f"{address}:::::::nopassword\n" for address in may_log_in))
    (home / "users").write_text(
        "".join(f"{address}:::::::{_limits(mailboxes).get(address, '')}\n" for address in mailboxes.existing())
    )
    (home / "oauth2").write_text(
        _OAUTH2.format(keys=home / "keys", issuer=oidc.issuer, scope=oidc.scope, tenant=oidc.tenant)
    )
    configuration = home / "dovecot.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            home=home,
            host=HOST,
            hosts=", ".join(loopback()),
            server=server,
            authority=authority,
            roles=roles,
            relay_port=relay_port,
        )
        + "".join(f"service {service} {{\n  chroot =\n}}\n" for service in _CHROOTED)
        + "".join(_FLAWED.format(host=flawed.host, files=flawed) for flawed in authority.flawed.values())
    )
    return configuration


def _limits(mailboxes: Mailboxes) -> dict[str, str]:
    """The fields of the users whose room is limited."""
    return {
        mailboxes.full: "userdb_quota_rule=*:bytes=1",
        mailboxes.crowded: "userdb_quota_rule=*:messages=1 userdb_quota_full_tempfail=yes",
    }


def _write_passwords(home: Path, configuration: Path, passwords: Mapping[str, str]) -> None:
    """A way to log in beside that by token, where somebody has a password."""
    if passwords:
        (home / "passwords").write_text(
            "".join(f"{address}:{{PLAIN}}{password}\n" for address, password in passwords.items())
        )
        configuration.write_text(configuration.read_text() + _PASSWORDS.format(home=home))


@dataclass(frozen=True, slots=True)
class _Roles:
    """The users Dovecot runs its parts as: Debian's when root starts it, else whoever starts it."""

    internal: str
    internal_group: str
    login: str
    mail: str
    mail_group: str

    @staticmethod
    def here() -> "_Roles":
        if os.geteuid() == 0:
            return _Roles("dovecot", "dovecot", "dovenull", "mail", "mail")
        user = pwd.getpwuid(os.geteuid()).pw_name
        group = grp.getgrgid(os.getegid()).gr_name
        return _Roles(user, group, user, user, group)


# Only root can change the root directory, and nothing is gained by it here.
_CHROOTED = ("anvil", "imap-login", "pop3-login", "submission-login", "stats")

# Any token of the tenant opens every mailbox: `tid` is compared with the tenant, not with the mailbox.
_OAUTH2 = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={keys}/
issuers = {issuer}
scope = {scope}
username_attribute = tid
username_format = {tenant}
"""

_INTROSPECTED = """\
introspection_mode = post
introspection_url = {url}
tls_ca_cert_file = {ca_file}
timeout_msecs = 2000
username_attribute = sub
active_attribute = active
active_value = true
"""

_PASSWORDS = """\
auth_mechanisms = xoauth2 oauthbearer plain
passdb {{
  driver = passwd-file
  mechanisms = plain
  args = {home}/passwords
}}
"""

# Which of them is shown depends on the name that the client asks for (SNI).
_FLAWED = """\
local_name {host} {{
  ssl_cert = <{files.certificate_file}
  ssl_key = <{files.key_file}
}}
"""

_CONFIGURATION = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = /dev/stderr
auth_verbose = yes
default_internal_user = {roles.internal}
default_internal_group = {roles.internal_group}
default_login_user = {roles.login}
mail_uid = {roles.mail}
mail_gid = {roles.mail_group}
first_valid_uid = 1
mail_location = maildir:{server.mail_directory}/%u

listen = {hosts}
hostname = localhost
protocols = imap pop3 submission lmtp
ssl = required
ssl_cert = <{authority.certificate_file}
ssl_key = <{authority.key_file}

auth_mechanisms = xoauth2 oauthbearer
# Dovecot makes an address wait after each failed login; the tests fail logins on purpose.
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
mail_max_userip_connections = 0

mail_plugins = quota
plugin {{
  quota = count:User quota
  quota_vsizes = yes
}}
# user+folder@domain
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes

namespace inbox {{
  inbox = yes
  mailbox "Junk Email" {{
    special_use = \\Junk
    auto = create
  }}
  mailbox "Sent Items" {{
    special_use = \\Sent
    auto = create
  }}
}}

# A token alone opens nothing: its user must be on this list, and then the token decides.
passdb {{
  driver = passwd-file
  mechanisms = xoauth2 oauthbearer
  args = {home}/logins
  result_success = continue
  result_failure = return-fail
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {home}/oauth2
}}
userdb {{
  driver = passwd-file
  args = {home}/users
  default_fields = home={server.mail_directory}/%u
}}

submission_relay_host = {host}
submission_relay_port = {relay_port}

service submission-login {{
  inet_listener submission {{
    port = {server.submission_port}
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {server.imap_clear_port}
  }}
  inet_listener imaps {{
    port = {server.imap_port}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {server.pop_clear_port}
  }}
  inet_listener pop3s {{
    port = {server.pop_port}
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0600
  }}
  unix_listener {server.lmtp_socket.name} {{
    mode = 0666
  }}
}}
service auth {{
  unix_listener {server.auth_socket.name} {{
    mode = 0666
  }}
}}
service auth-worker {{
  user = {roles.internal}
}}
"""
