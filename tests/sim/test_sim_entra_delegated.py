"""The simulated Entra ID and apps that act for users: device codes, refresh tokens, delegated tokens."""

from __future__ import annotations

import asyncio
import base64
import smtplib
import urllib.parse
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import msal
import pytest
import requests

from monitor.sim.consents import CODE_LIFE_S
from monitor.sim.contoso import BILLING_ID, DESK_ID, DESK_SCOPES, TENANT_ID
from monitor.sim.office import Microsoft365 as Office
from monitor.sim.records import Secret
from tests.sim.sim_peer import BILLING, CANARY, xoauth2

if TYPE_CHECKING:
    from monitor.sim import Microsoft365
    from tests.sim.sim_peer import Answer, Peer

SEND = "https://outlook.office.com/SMTP.Send offline_access"


def begin(peer: Peer, **changes: str) -> Answer:
    """Ask for a device code."""
    form = {"client_id": DESK_ID, "scope": SEND, **changes}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return peer.ask("POST", f"/{TENANT_ID}/oauth2/v2.0/devicecode", urllib.parse.urlencode(form), headers)


def poll(peer: Peer, device_code: str, **changes: str) -> Answer:
    """Ask whether it is done."""
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    return peer.post_token({"grant_type": grant, "client_id": DESK_ID, "device_code": device_code, **changes})


async def test_a_user_signs_in_with_a_device_code(office: Microsoft365, peer: Peer) -> None:
    """Pending until the user has typed the code; then a delegated token of a public client, and a refresh token."""
    begun = (await asyncio.to_thread(begin, peer)).json
    assert {"user_code", "device_code", "verification_uri", "message"} < begun.keys()
    assert (CODE_LIFE_S, 5) == (begun["expires_in"], begun["interval"])
    pending = await asyncio.to_thread(poll, peer, begun["device_code"])
    assert (400, "authorization_pending", [70016]) == (
        pending.status,
        pending.json["error"],
        pending.json["error_codes"],
    )
    office.consents.sign_in(begun["user_code"], BILLING)
    given = (await asyncio.to_thread(poll, peer, begun["device_code"])).json
    claims = jwt.decode(given["access_token"], options={"verify_signature": False})
    expected = {"scp": "SMTP.Send", "appidacr": "0", "idtyp": "user", "upn": BILLING, "appid": DESK_ID}
    assert expected == {name: claims[name] for name in expected}
    assert "roles" not in claims
    assert office.consents.knows(given["refresh_token"])
    again = await asyncio.to_thread(poll, peer, begun["device_code"])
    assert "bad_verification_code" == again.json["error"], "a code is good once"


async def test_a_declined_an_unknown_and_an_old_code(tmp_path: Any, signing_key: Any, peer: Peer) -> None:
    """Each has an error of its own."""
    begun = (await asyncio.to_thread(begin, peer)).json
    peer.office.consents.decline(begun["user_code"])
    declined = await asyncio.to_thread(poll, peer, begun["device_code"])
    unknown = await asyncio.to_thread(poll, peer, "DAQ123")
    assert ("authorization_declined", "bad_verification_code") == (declined.json["error"], unknown.json["error"])

    offset = timedelta()
    (tmp_path / "other").mkdir()
    async with Office(tmp_path / "other", key=signing_key, now=lambda: datetime.now(UTC) + offset) as later:
        there = replace_office(peer, later)
        begun = (await asyncio.to_thread(begin, there)).json
        offset = timedelta(seconds=CODE_LIFE_S + 1)
        old = await asyncio.to_thread(poll, there, begun["device_code"])
    assert ("expired_token", [70019]) == (old.json["error"], old.json["error_codes"])


def replace_office(peer: Peer, office: Microsoft365) -> Peer:
    """The same clients, of another office."""
    return type(peer)(office, peer.certificate)


async def test_a_refresh_token_is_replaced_and_stays_good(office: Microsoft365, peer: Peer) -> None:
    """Each use gives a new refresh token; the old one is not revoked by that."""
    old = peer.refresh_token()
    first = await asyncio.to_thread(peer.post_token, peer.refresh_form(old))
    second = await asyncio.to_thread(peer.post_token, peer.refresh_form(old))
    tokens = {old, first.json["refresh_token"], second.json["refresh_token"]}
    assert 3 == len(tokens)
    assert all(office.consents.knows(token) for token in tokens)
    assert "https://outlook.office.com/SMTP.Send" == first.json["scope"]


@pytest.mark.parametrize(
    ("fault", "subject", "error", "code", "suberror"),
    [
        ("refresh_token_expired", "desk-mailer", "invalid_grant", 700082, "bad_token"),
        ("sessions_revoked", BILLING, "invalid_grant", 50173, "bad_token"),
        ("device_code_blocked", "contoso.example", "invalid_grant", 530036, None),
        ("delegated_consent_revoked", "desk-mailer", "invalid_grant", 65001, "consent_required"),
        ("public_client_disabled", "desk-mailer", "invalid_client", 7000218, None),
    ],
)
async def test_a_refresh_token_that_is_not_good_any_more(
    office: Microsoft365, peer: Peer, fault: str, subject: str, error: str, code: int, suberror: str | None
) -> None:
    """Each end of a grant has its code, and some a suberror."""
    await office.inject(fault, subject)
    body = (await asyncio.to_thread(peer.post_token, peer.refresh_form())).json
    assert (error, [code], suberror) == (body["error"], body["error_codes"], body.get("suberror"))


async def test_a_refresh_token_lives_for_90_days_of_silence(peer: Peer) -> None:
    """One of 89 days is good, one of 91 days has expired."""
    ages = [await asyncio.to_thread(peer.refresh_token, BILLING, timedelta(days=days)) for days in (89, 91)]
    answers = [await asyncio.to_thread(peer.post_token, peer.refresh_form(token)) for token in ages]
    assert [200, 400] == [answer.status for answer in answers]
    assert "was inactive for 90 days" in answers[1].json["error_description"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"refresh_token": "1.AXoAcut-off"}, 9002313),
        ({"refresh_token": ""}, 900144),
        ({"client_id": BILLING_ID}, 7000218),
        ({"scope": "https://outlook.office.com/Mail.Send"}, 65001),
        ({"scope": "https://outlook.office.com/SMTP.Send https://graph.microsoft.com/SMTP.Send"}, 28000),
        ({"scope": "SMTP.Send"}, 500011),
    ],
)
async def test_a_wrong_refresh_is_refused(peer: Peer, changes: dict[str, str], code: int) -> None:
    """A token that was never given, of another app, for other permissions or resources."""
    answer = await asyncio.to_thread(peer.post_token, peer.refresh_form(**changes))
    assert [code] == answer.json["error_codes"]


async def test_a_confidential_app_needs_its_secret(office: Microsoft365, peer: Peer) -> None:
    """With a secret a delegated token says appidacr 1; without one the app is refused."""
    app = next(one for one in office.world.records("app") if getattr(one, "client_id", "") == DESK_ID)
    office.world.declare(replace(app, public_client=False, secrets=(Secret("desk~secret"),)))
    given = await asyncio.to_thread(peer.post_token, peer.refresh_form(client_secret="desk~secret"))
    claims = jwt.decode(given.json["access_token"], options={"verify_signature": False})
    assert "1" == claims["appidacr"]
    assert [7000218] == (await asyncio.to_thread(peer.post_token, peer.refresh_form())).json["error_codes"]


async def test_msal_signs_in_and_refreshes(office: Microsoft365) -> None:
    """Microsoft's own library is content with device codes and refresh tokens."""

    def client(session: requests.Session) -> Any:
        session.trust_env = False
        session.verify = str(office.ca_file)
        authority = f"{office.authority_url}/{TENANT_ID}"
        return msal.PublicClientApplication(DESK_ID, authority=authority, instance_discovery=False, http_client=session)

    def whole() -> dict[str, Any]:
        with requests.Session() as session:
            flow = client(session).initiate_device_flow(["https://outlook.office.com/SMTP.Send"])
            office.consents.sign_in(flow["user_code"], BILLING)
            given = client(session).acquire_token_by_device_flow(flow)
            scopes = ["https://outlook.office.com/SMTP.Send"]
            return dict(client(session).acquire_token_by_refresh_token(given["refresh_token"], scopes))

    assert {"access_token", "refresh_token"} < (await asyncio.to_thread(whole)).keys()


async def test_a_users_token_opens_the_users_own_mailbox(peer: Peer) -> None:
    """SMTP takes a delegated token for the mailbox of its user, needs SMTP.Send, and asks for no mailbox permission."""

    def log_on(user: str, scope: str) -> int:
        given = peer.post_token(peer.refresh_form(scope=f"https://outlook.office.com/{scope}")).json["access_token"]
        with peer.smtp() as session:
            return session.docmd("AUTH", f"XOAUTH2 {xoauth2(user, given)}")[0]

    await peer.office.inject("permission_missing", BILLING)
    assert 235 == await asyncio.to_thread(log_on, BILLING, "SMTP.Send")
    assert 535 == await asyncio.to_thread(log_on, CANARY, "SMTP.Send")
    assert 535 == await asyncio.to_thread(log_on, BILLING, DESK_SCOPES[1])


async def test_a_users_message_is_sent(office: Microsoft365, peer: Peer) -> None:
    """What a user consented to reaches to the end of DATA."""

    def send() -> None:
        given = peer.post_token(peer.refresh_form()).json["access_token"]
        with peer.smtp() as session:
            session.auth("XOAUTH2", lambda _=None: base64.b64decode(xoauth2(BILLING, given)).decode())
            assert {} == session.sendmail(BILLING, CANARY, f"From: {BILLING}\r\n\r\nBody.\r\n")

    await office.inject("permission_missing", BILLING)
    try:
        await asyncio.to_thread(send)
    except smtplib.SMTPException as refused:
        pytest.fail(str(refused))
    assert 1 == len(office.world.submissions)
