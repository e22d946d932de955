"""The simulated identity endpoint of an Azure host, by an HTTP client and by MSAL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jwt
import msal
import pytest
import requests

from monitor.sim.contoso import BILLING_ID, HOST_ID
from monitor.sim.records import OnHost

if TYPE_CHECKING:
    from monitor.sim import Microsoft365
    from tests.sim.sim_peer import Peer

RESOURCE = "https://outlook.office365.com"


async def test_a_virtual_machine_is_given_a_token_for_a_day(peer: Peer) -> None:
    """Numbers are text, as in the real service; the token is an app-only one of the identity."""
    answer = await asyncio.to_thread(peer.host_token)
    body = answer.json
    assert (200, "86399", RESOURCE, HOST_ID) == (
        answer.status,
        body["expires_in"],
        body["resource"],
        body["client_id"],
    )
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert (HOST_ID, "2", ["SMTP.SendAsApp"]) == (claims["appid"], claims["appidacr"], claims["roles"])


@pytest.mark.parametrize(
    ("query", "headers", "error"),
    [
        ("", {"Metadata": "false"}, "bad_request_102"),
        ("", {"X-Forwarded-For": "192.0.2.1"}, "bad_request_102"),
        ("x", {}, "invalid_resource"),
        (f"&client_id={BILLING_ID}", {}, "invalid_request"),
    ],
    ids=["no-header", "through-a-proxy", "resource", "identity"],
)
async def test_a_wrong_request_is_refused(peer: Peer, query: str, headers: dict[str, str], error: str) -> None:
    """The header that browsers and proxies do not send, the resource and the identity count."""
    answer = await asyncio.to_thread(peer.host_token, query, **headers)
    assert (400, error) == (answer.status, answer.json["error"])


async def test_an_identity_that_was_removed_is_not_found(office: Microsoft365, peer: Peer) -> None:
    """Without an identity the endpoint is there and says so."""
    await office.inject("host_identity_removed", "host-mailer")
    answer = await asyncio.to_thread(peer.host_token)
    assert ("invalid_request", "Identity not found") == (answer.json["error"], answer.json["error_description"])


async def test_a_user_assigned_identity_is_chosen_by_its_client_id(office: Microsoft365, peer: Peer) -> None:
    """Of two identities the system's is meant unless another one is named."""
    billing = office.world.app_registered(BILLING_ID)
    assert billing is not None
    office.world.declare(replace(billing, on_host=OnHost.USER))
    asked = [await asyncio.to_thread(peer.host_token, query) for query in ("", f"&client_id={BILLING_ID}")]
    assert [HOST_ID, BILLING_ID] == [answer.json["client_id"] for answer in asked]


async def test_msal_is_content_with_both_shapes(office: Microsoft365, monkeypatch: pytest.MonkeyPatch) -> None:
    """Microsoft's own library gets tokens from the machine's endpoint and from App Service's, which has a password."""

    def acquire() -> dict[str, Any]:
        with requests.Session() as session:
            session.trust_env = False
            client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=session)
            return dict(client.acquire_token_for_client(resource=RESOURCE))

    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", office.identity_url)
    assert 86_399 == (await asyncio.to_thread(acquire))["expires_in"]
    for name, value in office.app_service.items():
        monkeypatch.setenv(name, value)
    assert (await asyncio.to_thread(acquire))["expires_in"] > 86_000
    monkeypatch.setenv("IDENTITY_HEADER", "guessed")
    assert "access_token" not in await asyncio.to_thread(acquire)
