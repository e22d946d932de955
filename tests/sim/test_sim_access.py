"""Who is let in by IMAP: tokens, passwords, and mailboxes that do not open."""

from __future__ import annotations

import asyncio
import imaplib
from typing import TYPE_CHECKING

import pytest

from monitor.sim import contoso
from monitor.sim.contoso import PARTNER_INBOX, TENANT_ID
from monitor.sim.records import Mailbox
from tests.sim.reading import command, connect, found, log_on, partner, reader_token, reading, send
from tests.sim.sim_peer import BILLING, CANARY, Peer, xoauth2

if TYPE_CHECKING:
    from monitor.sim import Microsoft365

NOT_CONNECTED = "BAD User is authenticated but not connected."


def refusal(peer: Peer, user: str, token: str) -> str:
    """What AUTHENTICATE says, with the token on the command's own line."""
    with connect(peer) as session:
        return command(session, f"AUTHENTICATE XOAUTH2 {xoauth2(user, token)}")[1]


@pytest.mark.parametrize("scope", ["https://outlook.office365.com/.default", "https://outlook.office.com/.default"])
async def test_a_good_token_is_accepted_in_both_forms(peer: Peer, scope: str) -> None:
    """With the command (SASL-IR) and on a line of its own, for either host of Exchange Online."""

    def both() -> list[str]:
        token = reader_token(peer, scope=scope)
        with connect(peer) as session:
            return [refusal(peer, CANARY, token), log_on(session, CANARY, token)]

    assert ["OK AUTHENTICATE completed.", "AUTHENTICATE completed."] == await asyncio.to_thread(both)


BAD_TOKENS = {
    "nonsense": lambda _: "abc",
    "Graph's audience": lambda peer: reader_token(peer, scope="https://graph.microsoft.com/.default"),
    "no role for IMAP": lambda peer: peer.token(),
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_a_bad_token_is_refused(peer: Peer, token: object) -> None:
    """Wrong audience, missing role and nonsense get the one answer that Exchange has for them."""
    answer = await asyncio.to_thread(lambda: refusal(peer, CANARY, token(peer)))  # type: ignore[operator]
    assert "NO AUTHENTICATE failed." == answer


@pytest.mark.parametrize("fault", ["consent_revoked", "exchange_unregistered"])
async def test_an_app_that_exchange_does_not_know_is_refused(office: Microsoft365, peer: Peer, fault: str) -> None:
    """The token is there, and AUTHENTICATE says no."""
    await office.inject(fault, "mailcanary-reader")
    assert "NO AUTHENTICATE failed." == await asyncio.to_thread(lambda: refusal(peer, CANARY, reader_token(peer)))


async def test_an_expired_token_is_refused(office: Microsoft365, peer: Peer) -> None:
    """A token that was good is refused once its time is over."""
    token = await asyncio.to_thread(reader_token, peer)
    now = office.world.now()
    office.world.now = lambda: now.replace(year=now.year + 1)
    assert "NO AUTHENTICATE failed." == await asyncio.to_thread(refusal, peer, CANARY, token)


CLOSED = {
    "permission_missing": (CANARY, CANARY),
    "permission_propagating": (CANARY, CANARY),
    "licence_removed": (CANARY, CANARY),
    "imap_disabled": (CANARY, CANARY),
    "not_connected": (CANARY, CANARY),
    "no such mailbox": (None, "nobody@contoso.example"),
}


@pytest.mark.parametrize(("subject", "user"), CLOSED.values(), ids=CLOSED.keys())
async def test_a_mailbox_that_does_not_open_shows_it_on_the_next_command(
    office: Microsoft365, peer: Peer, subject: str | None, user: str, request: pytest.FixtureRequest
) -> None:
    """AUTHENTICATE is OK; the first command is refused, the second one too, and then the connection is closed."""
    if subject is not None:
        await office.inject(request.node.callspec.id, subject)

    def talk() -> list[str]:
        with connect(peer) as session:
            lines = [log_on(session, user, reader_token(peer)), command(session, "SELECT INBOX")[1]]
            lines.append(command(session, 'LIST "" "*"')[1])
            return [*lines, *(session.readline().decode().strip() for _ in range(2))]

    answers = await asyncio.to_thread(talk)
    assert ["AUTHENTICATE completed.", NOT_CONNECTED, NOT_CONNECTED, "* BYE Connection closed. 14", ""] == answers


async def test_an_unavailable_server_says_so_at_the_log_on(office: Microsoft365, peer: Peer) -> None:
    """Good and bad tokens are answered alike."""
    await office.inject("unavailable", "imap")
    answers = await asyncio.to_thread(lambda: [refusal(peer, CANARY, token) for token in (reader_token(peer), "abc")])
    assert ["NO Server Unavailable. 15"] * 2 == answers


async def test_a_user_opens_the_own_mailbox_only(office: Microsoft365, peer: Peer) -> None:
    """A delegated token needs the scope for IMAP; in another mailbox it is authenticated but not connected."""

    def delegated(scope: str) -> str:
        app = next(app for app in contoso(hr_certificate=peer.certificate).apps if app.name == "desk-mailer")
        audience = "https://outlook.office.com"
        return office._mint.issue(
            office.world, app, audience=audience, credential="0", lifetime_s=60, user=CANARY.upper(), scopes=(scope,)
        )

    def talk() -> list[str]:
        answers = [refusal(peer, CANARY, delegated("SMTP.Send"))]
        for user in (CANARY, BILLING):
            with reading(peer, user, delegated("IMAP.AccessAsUser.All")) as session:
                answers.append(command(session, "EXAMINE INBOX")[1])
        return answers

    expected = ["NO AUTHENTICATE failed.", "OK [READ-ONLY] EXAMINE completed.", NOT_CONNECTED]
    assert expected == await asyncio.to_thread(talk)


async def test_a_mailbox_of_another_tenant_is_refused_at_the_log_on(office: Microsoft365, peer: Peer) -> None:
    """A token is for one tenant: a mailbox elsewhere, even one with a password, is not opened by it."""
    office.world.declare(Mailbox("box@fabrikam.example", "22222222-0000-4000-8000-000000000000"))

    def talk() -> list[str]:
        token = reader_token(peer)
        return [refusal(peer, user, token) for user in ("box@fabrikam.example", PARTNER_INBOX)]

    assert ["NO AUTHENTICATE failed."] * 2 == await asyncio.to_thread(talk)


async def test_the_partner_takes_passwords_and_no_tokens(peer: Peer) -> None:
    """The inbox at another provider is read with LOGIN; a wrong password is refused with a code (RFC 5530)."""

    def talk() -> tuple[dict[str, int], str, tuple[str, ...]]:
        send(peer, "one", PARTNER_INBOX)
        with partner(peer) as session:
            counts = found(session, "one")
        with pytest.raises(imaplib.IMAP4.error) as refused, partner(peer, "wrong"):
            pass
        with connect(peer, peer.office.partner_imap_port) as session:
            return counts, str(refused.value), session.capabilities

    counts, refused, offered = await asyncio.to_thread(talk)
    assert {"INBOX": 1} == counts
    assert "[AUTHENTICATIONFAILED] Invalid credentials" in refused
    assert not {"LOGINDISABLED", "AUTH=XOAUTH2"} & set(offered)


def test_the_reader_belongs_to_contoso() -> None:
    """The app that reads canaries holds the roles for IMAP and POP and may send nothing."""
    reader = next(app for app in contoso().apps if app.name == "mailcanary-reader")
    assert (TENANT_ID, ("IMAP.AccessAsApp", "POP.AccessAsApp")) == (reader.tenant, reader.roles)
