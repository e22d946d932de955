"""The checks against real servers: Postfix and Dovecot, with tokens of a real OIDC issuer."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from checks.core.clock import SystemClock
from checks.core.cloud import Cloud, Endpoint
from checks.core.material import ClientCertificate, ClientSecret
from checks.core.model import Kind, Outcome, Phase
from checks.core.run import run_check
from checks.core.secret import Address, Secret
from checks.core.target import App, Credential, Inbox, Mailbox, Tenant
from checks.registry import CHECKS
from checks.wire.kit import open_kit

if TYPE_CHECKING:
    from checks.core.model import Result
    from checks.core.settings import Settings
    from checks.core.target import Target
    from tests.peers.dovecot import Dovecot
    from tests.peers.oidc import Oidc
    from tests.peers.postfix import Postfix


def credential(oidc: Oidc, port: int, app: str = "by_secret") -> Credential:
    """The credential of one of the issuer's apps, for a mail server on a port."""
    known = getattr(oidc.apps, app)
    endpoint = Endpoint(host="localhost", port=port, ca_file=str(oidc.ca_file))
    cloud = Cloud(
        name="peers",
        authority=oidc.authority.rpartition("/")[0],
        scope=oidc.scope,
        smtp=endpoint,
        ca_file=str(oidc.ca_file),
    )
    material = (
        ClientCertificate(key_pem=Secret(known.certificate.private_key), certificate_pem=known.certificate.certificate)
        if known.certificate
        else ClientSecret(Secret(known.secret))
    )
    tenant = Tenant(name="peers", tenant_id=oidc.tenant, cloud=cloud)
    return Credential(app=App(id=app.replace("_", "-"), tenant=tenant, client_id=known.client_id), material=material)


def mailbox(owner: Credential, address: str) -> Mailbox:
    """A mailbox that an app sends as."""
    return Mailbox(id=address.partition("@")[0], address=Address(address), credential=owner, endpoint=owner.cloud.smtp)


def inbox(address: str) -> Inbox:
    """Where a canary goes; nobody reads it here."""
    return Inbox(id="recipient", address=Address(address), endpoint=Endpoint(host="localhost", port=993))


async def run(check: str, target: Target, settings: Settings | None = None) -> Result:
    """One run with a kit of its own."""
    known = CHECKS[check]
    async with open_kit(clock=SystemClock(), seed=2) as kit:
        return await run_check(known, target, settings or known.settings(), kit, watch=f"{check}/peer", seconds=20)


@pytest.mark.parametrize("app", ["by_secret", "by_certificate"])
async def test_the_token_check_passes_at_a_real_issuer(oidc: Oidc, app: str) -> None:
    """A secret and a private_key_jwt assertion both get a token whose claims can be read."""
    result = await run("token", credential(oidc, 1, app))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert result.facts[0].readable


@pytest.mark.parametrize("app", ["by_secret", "by_certificate", "long_token"])
@pytest.mark.parametrize("port", ["port", "stock_port"])
async def test_auth_passes_at_postfix(oidc: Oidc, postfix: Postfix, app: str, port: str) -> None:
    """AUTH XOAUTH2 passes at Postfix, with long tokens too where command lines are cut at 2,048 characters."""
    target = mailbox(credential(oidc, getattr(postfix, port), app), postfix.mailboxes.sender)
    result = await run("smtp_auth", target)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)


@pytest.mark.parametrize("app", ["by_secret", "long_token"])
async def test_auth_passes_at_dovecot(oidc: Oidc, dovecot: Dovecot, app: str) -> None:
    """AUTH XOAUTH2 passes at Dovecot's submission service, which takes short command lines only."""
    result = await run("smtp_auth", mailbox(credential(oidc, dovecot.submission_port, app), dovecot.mailboxes.sender))
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)


async def test_a_canary_arrives_by_way_of_postfix(oidc: Oidc, postfix: Postfix, dovecot: Dovecot) -> None:
    """What the canary check reports as sent stands in the recipient's mailbox under that id."""
    settings = CHECKS["canary"].settings(to=(inbox(postfix.mailboxes.recipient),))
    result = await run("canary", mailbox(credential(oidc, postfix.port), postfix.mailboxes.sender), settings)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    sent = result.facts[-1]
    message_id = f"<{sent.canary_id}.mailcanary@{postfix.mailboxes.sender.partition('@')[2]}>"
    assert await asyncio.to_thread(dovecot.receives, postfix.mailboxes.recipient, message_id)


@pytest.mark.parametrize("app", ["wrong_scope", "expired"])
async def test_a_bad_token_is_refused_with_its_challenge_kept(oidc: Oidc, postfix: Postfix, app: str) -> None:
    """A token for another resource and an expired one fail at AUTH, as a refused login, with the 334 as evidence."""
    result = await run("smtp_auth", mailbox(credential(oidc, postfix.port, app), postfix.mailboxes.sender))
    evidence = result.worst.evidence
    assert ("smtp.auth_refused", Phase.AUTH, "535") == (result.worst.cause, evidence.phase, evidence.code)
    assert re.search(r'challenge \{"status":"401"', evidence.text)


async def test_a_disabled_user_is_refused_at_auth(oidc: Oidc, dovecot: Dovecot) -> None:
    """A good token does not open a disabled mailbox."""
    target = mailbox(credential(oidc, dovecot.submission_port), dovecot.mailboxes.disabled)
    result = await run("smtp_auth", target)
    assert ("smtp.auth_refused", Phase.AUTH) == (result.worst.cause, result.worst.evidence.phase)


async def test_a_server_that_cannot_check_tokens_is_no_bad_credential(oidc: Oidc, elsewhere: Dovecot) -> None:
    """Where nobody answers about tokens, the login is deferred, and nobody is told to renew a credential."""
    result = await run("smtp_auth", mailbox(credential(oidc, elsewhere.submission_port), elsewhere.mailboxes.sender))
    evidence = result.worst.evidence
    assert ("smtp.auth_deferred", Phase.AUTH, "454") == (result.worst.cause, evidence.phase, evidence.code)


async def test_a_foreign_sender_is_refused_at_rcpt(oidc: Oidc, postfix: Postfix) -> None:
    """A sender that the login does not own passes AUTH and MAIL and is refused at RCPT, by name of the sender."""
    settings = CHECKS["canary"].settings(to=(inbox(postfix.mailboxes.recipient),))
    result = await run("canary", mailbox(credential(oidc, postfix.port), postfix.mailboxes.foreign), settings)
    assert ("smtp.sender_refused", Phase.RCPT) == (result.worst.cause, result.worst.evidence.phase)


async def test_an_unknown_recipient_is_blamed_on_the_recipient(oidc: Oidc, postfix: Postfix) -> None:
    """A recipient that the server does not know is refused at RCPT, and the cause is the recipient."""
    settings = CHECKS["canary"].settings(to=(inbox(postfix.mailboxes.unknown),))
    result = await run("canary", mailbox(credential(oidc, postfix.port), postfix.mailboxes.sender), settings)
    assert ("exchange.recipient_unknown", Phase.RCPT) == (result.worst.cause, result.worst.evidence.phase)
    assert postfix.mailboxes.unknown not in repr(result)


async def test_a_wrong_secret_at_a_real_issuer_has_a_sensible_cause(oidc: Oidc) -> None:
    """An issuer that gives no AADSTS number is understood by its OAuth error."""
    good = credential(oidc, 1)
    wrong = Credential(app=good.app, material=ClientSecret(Secret("not-the-secret")))
    result = await run("token", wrong)
    assert ("entra.client_refused", Kind.OAUTH) == (result.worst.cause, result.worst.evidence.kind)
