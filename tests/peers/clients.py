"""The standard library's and MSAL's own clients, as the tests of the peers use them: none of it is our product's code."""

import email.message
import email.utils
import imaplib
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msal
import requests

from tests.peers.authority import PrivateCA
from tests.peers.dovecot import Dovecot
from tests.peers.oidc import App, Oidc

_ANSWER_SECONDS = 10.0


@contextmanager
def http_session(oidc: Oidc) -> Iterator[requests.Session]:
    """A session that trusts the private CA and nothing in the environment (REQUESTS_CA_BUNDLE would win otherwise)."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(oidc.ca_file)
        yield session


@contextmanager
def msal_client(oidc: Oidc, app: App, credential: object = None) -> Iterator[msal.ConfidentialClientApplication]:
    """MSAL's client for this app, with the app's own credential unless another is given."""
    if credential is None and app.certificate is not None:
        certificate = app.certificate
        credential = {"private_key": certificate.private_key, "public_certificate": certificate.certificate}
    with http_session(oidc) as session:
        yield msal.ConfidentialClientApplication(
            app.client_id,
            client_credential=credential or app.secret,
            authority=oidc.authority,
            instance_discovery=False,
            http_client=session,
        )


def access_token(oidc: Oidc, app: App) -> str:
    """A new token of this app."""
    with msal_client(oidc, app) as client:
        answer = client.acquire_token_for_client([oidc.scope])
    return str(answer["access_token"])


@dataclass(frozen=True, slots=True)
class Xoauth2:
    """The client's side of XOAUTH2 for smtplib and imaplib; it keeps the challenges of a refusal."""

    user: str
    token: str
    challenges: list[bytes] = field(default_factory=list)

    def smtp(self, challenge: bytes | None = None) -> str:
        """The credentials first; to a challenge with content, the empty line that ends the failed exchange."""
        if not challenge:
            return f"user={self.user}\x01auth=Bearer {self.token}\x01\x01"
        self.challenges.append(challenge)
        return ""

    def imap(self, challenge: bytes) -> bytes:
        """The same in the form of imaplib."""
        return self.smtp(challenge).encode()


@contextmanager
def smtp_client(host: str, port: int, authority: PrivateCA) -> Iterator[smtplib.SMTP]:
    """A connection after STARTTLS and EHLO, verified against the CA; closed without QUIT if a test leaves it open."""
    client = smtplib.SMTP(host, port, timeout=_ANSWER_SECONDS)
    try:
        client.starttls(context=authority.client_context())
        client.ehlo()
        yield client
    finally:
        client.close()


def log_in(client: smtplib.SMTP, credentials: Xoauth2, *, two_steps: bool = True) -> tuple[int, bytes]:
    """AUTH XOAUTH2, in two steps (what every server takes) or with the token as initial response."""
    return client.auth("XOAUTH2", credentials.smtp, initial_response_ok=not two_steps)


@contextmanager
def imap_client(dovecot: Dovecot, authority: PrivateCA) -> Iterator[imaplib.IMAP4_SSL]:
    """A connection with implicit TLS, verified against the CA."""
    client = imaplib.IMAP4_SSL(
        dovecot.host, dovecot.imap_port, ssl_context=authority.client_context(), timeout=_ANSWER_SECONDS
    )
    try:
        yield client
    finally:
        client.shutdown()


def message(sender: str, recipient: str) -> email.message.EmailMessage:
    """A small message with a Message-ID of its own."""
    made = email.message.EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, recipient, "A canary"
    made["Message-ID"] = email.utils.make_msgid(domain="client.canary.test")
    made.set_content("It sings.\n")
    return made
