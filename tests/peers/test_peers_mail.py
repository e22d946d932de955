"""Dovecot and Postfix take XOAUTH2 as a mail service of the world does, and refuse what they should."""

import imaplib
import json
import smtplib
import ssl
from dataclasses import dataclass

import pytest

from tests.peers.authority import PrivateCA
from tests.peers.clients import Xoauth2, access_token, imap_client, log_in, message, smtp_client
from tests.peers.dovecot import Dovecot
from tests.peers.oidc import Oidc
from tests.peers.postfix import Postfix

# What Dovecot's auth server says to every refused token; it tells Postfix the same.
CHALLENGE = {"status": "401", "schemes": "bearer", "scope": "mail"}


@dataclass(frozen=True, slots=True)
class Submission:
    """Where mail is submitted, by whichever server."""

    host: str
    port: int


@pytest.fixture(params=["dovecot", "postfix"])
def submission(request: pytest.FixtureRequest) -> Submission:
    """Each of the two servers in turn; only the one that is asked for is started."""
    server = request.getfixturevalue(request.param)
    return Submission(server.host, server.port if isinstance(server, Postfix) else server.submission_port)


@pytest.fixture(scope="module")
def token(oidc: Oidc) -> str:
    """A good token."""
    return access_token(oidc, oidc.apps.by_secret)


def refusal(submission: Submission, authority: PrivateCA, credentials: Xoauth2) -> int:
    """The code of a login that must fail."""
    with (
        smtp_client(submission.host, submission.port, authority) as client,
        pytest.raises(smtplib.SMTPAuthenticationError) as refused,
    ):
        log_in(client, credentials)
    return refused.value.smtp_code


def test_the_certificate_comes_from_the_private_ca(submission: Submission) -> None:
    """Who does not know the CA does not trust the server."""
    with (
        smtplib.SMTP(submission.host, submission.port) as client,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        client.starttls(context=ssl.create_default_context())


def test_postfix_waits_for_starttls(postfix: Postfix) -> None:
    """AUTH and MAIL are not taken before STARTTLS, and AUTH is not offered."""
    with smtplib.SMTP(postfix.host, postfix.port) as client:
        client.ehlo()
        assert not client.has_extn("AUTH")
        assert [530, 530] == [client.docmd("AUTH", "XOAUTH2")[0], client.mail("anyone@example.org")[0]]


@pytest.mark.parametrize("app", ["by_secret", "by_certificate", "long_token"])
def test_a_good_token_is_accepted(
    submission: Submission, private_ca: PrivateCA, oidc: Oidc, dovecot: Dovecot, app: str
) -> None:
    """A token by secret, by certificate or of Entra ID's length logs in over verified TLS."""
    credentials = Xoauth2(dovecot.mailboxes.sender, access_token(oidc, getattr(oidc.apps, app)))
    with smtp_client(submission.host, submission.port, private_ca) as client:
        assert 235 == log_in(client, credentials)[0]
        assert 221 == client.quit()[0]


@pytest.mark.parametrize("app", ["wrong_scope", "expired"])
def test_a_bad_token_is_challenged_and_refused(
    submission: Submission, private_ca: PrivateCA, oidc: Oidc, dovecot: Dovecot, app: str
) -> None:
    """A token for another service, or an old one, gets 334 with the reason and then 535."""
    credentials = Xoauth2(dovecot.mailboxes.sender, access_token(oidc, getattr(oidc.apps, app)))
    assert 535 == refusal(submission, private_ca, credentials)
    assert [CHALLENGE] == [json.loads(challenge) for challenge in credentials.challenges]


@pytest.mark.parametrize("mailbox", ["disabled", "unknown"])
def test_a_good_token_does_not_open_every_mailbox(
    submission: Submission, private_ca: PrivateCA, dovecot: Dovecot, token: str, mailbox: str
) -> None:
    """A disabled or unknown mailbox is refused like a bad token."""
    credentials = Xoauth2(getattr(dovecot.mailboxes, mailbox), token)
    assert 535 == refusal(submission, private_ca, credentials)
    assert [CHALLENGE] == [json.loads(challenge) for challenge in credentials.challenges]


def test_a_forged_token_is_refused(submission: Submission, private_ca: PrivateCA, dovecot: Dovecot, token: str) -> None:
    """A token whose signature does not fit its claims is refused."""
    head, claims, signature = token.split(".")
    forged = ".".join([head, claims, signature[::-1]])
    assert 535 == refusal(submission, private_ca, Xoauth2(dovecot.mailboxes.sender, forged))


def test_a_message_arrives(submission: Submission, private_ca: PrivateCA, dovecot: Dovecot, token: str) -> None:
    """A message sent by SMTP lies on the disk of the recipient and is found by IMAP."""
    sender, recipient = dovecot.mailboxes.sender, dovecot.mailboxes.recipient
    sent = message(sender, recipient)
    with smtp_client(submission.host, submission.port, private_ca) as client:
        log_in(client, Xoauth2(sender, token))
        assert {} == client.send_message(sent)
    assert dovecot.receives(recipient, sent["Message-ID"])
    with imap_client(dovecot, private_ca) as inbox:
        inbox.authenticate("XOAUTH2", Xoauth2(recipient, token).imap)
        inbox.select(readonly=True)
        _, (found,) = inbox.search(None, "HEADER", "Message-ID", f'"{sent["Message-ID"]}"')
        assert 1 == len(found.split())


def test_an_unknown_recipient_is_refused(
    submission: Submission, private_ca: PrivateCA, dovecot: Dovecot, token: str
) -> None:
    """Mail to a mailbox that does not exist is refused at RCPT with 550 5.1.1."""
    sender = dovecot.mailboxes.sender
    with smtp_client(submission.host, submission.port, private_ca) as client:
        log_in(client, Xoauth2(sender, token))
        client.mail(sender)
        code, text = client.rcpt(dovecot.mailboxes.unknown)
    assert (550, b"5.1.1") == (code, text[:5])


def test_a_foreign_sender_is_refused_at_rcpt(
    postfix: Postfix, private_ca: PrivateCA, dovecot: Dovecot, token: str
) -> None:
    """Postfix lets a user log in who does not own its address, takes MAIL, and refuses at RCPT."""
    foreign = postfix.mailboxes.foreign
    with smtp_client(postfix.host, postfix.port, private_ca) as client:
        codes = [
            log_in(client, Xoauth2(foreign, token))[0],
            client.mail(foreign)[0],
            client.rcpt(postfix.mailboxes.recipient)[0],
        ]
    assert [235, 250, 553] == codes


def test_no_mail_leaves_this_machine(postfix: Postfix, private_ca: PrivateCA, token: str) -> None:
    """Postfix refuses other domains at RCPT."""
    sender = postfix.mailboxes.sender
    with smtp_client(postfix.host, postfix.port, private_ca) as client:
        log_in(client, Xoauth2(sender, token))
        client.mail(sender)
        assert 554 == client.rcpt("someone@example.org")[0]


def test_a_stock_postfix_cuts_a_long_initial_response(postfix: Postfix, private_ca: PrivateCA, oidc: Oidc) -> None:
    """A token of Entra ID's length in the AUTH line is refused with the stock limit, accepted with a raised one."""
    credentials = Xoauth2(postfix.mailboxes.sender, access_token(oidc, oidc.apps.long_token))
    with (
        smtp_client(postfix.host, postfix.stock_port, private_ca) as client,
        pytest.raises(smtplib.SMTPAuthenticationError, match="Invalid base64 data"),
    ):
        log_in(client, credentials, two_steps=False)
    with smtp_client(postfix.host, postfix.port, private_ca) as client:
        assert 235 == log_in(client, credentials, two_steps=False)[0]


def test_imap_challenges_and_refuses_a_bad_token(dovecot: Dovecot, private_ca: PrivateCA, oidc: Oidc) -> None:
    """IMAP gives the same reason for a refused token, then NO."""
    credentials = Xoauth2(dovecot.mailboxes.sender, access_token(oidc, oidc.apps.wrong_scope))
    with (
        imap_client(dovecot, private_ca) as client,
        pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"),
    ):
        client.authenticate("XOAUTH2", credentials.imap)
    assert [CHALLENGE] == [json.loads(challenge) for challenge in credentials.challenges]
