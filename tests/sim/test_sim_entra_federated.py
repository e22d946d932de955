"""The simulated Entra ID and tokens of another issuer: what it trusts, and how it says that it does not."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import jwt
import pytest

from monitor.sim import make_key
from monitor.sim.contoso import CLUSTER, CLUSTER_ID, CLUSTER_SUBJECT
from monitor.sim.federation import Issuer
from monitor.sim.records import FEDERATION_AUDIENCE

if TYPE_CHECKING:
    from monitor.sim import Microsoft365
    from tests.sim.sim_peer import Peer


async def test_a_trusted_token_is_exchanged(peer: Peer) -> None:
    """A token of the cluster gets an app-only token, which says that the app came with an assertion (appidacr 2)."""
    answer = await asyncio.to_thread(peer.post_token, peer.federated_form())
    claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
    assert (200, CLUSTER_ID, "2", ["SMTP.SendAsApp"]) == (
        answer.status,
        claims["appid"],
        claims["appidacr"],
        claims["roles"],
    )


@pytest.mark.parametrize(
    ("subject", "claims", "status", "code", "words"),
    [
        (CLUSTER_SUBJECT, {"iss": f"{CLUSTER}/"}, 401, 700211, f"presented assertion issuer '{CLUSTER}/'"),
        (CLUSTER_SUBJECT, {"aud": ["kubernetes"]}, 401, 700212, "presented assertion audience 'kubernetes'"),
        (CLUSTER_SUBJECT.upper(), {}, 401, 700213, f"presented assertion subject '{CLUSTER_SUBJECT.upper()}'"),
        (CLUSTER_SUBJECT, {"exp": 1000, "nbf": 0}, 401, 700024, "not within its valid time range"),
    ],
)
async def test_what_does_not_match_is_named(
    office: Microsoft365, peer: Peer, subject: str, claims: dict[str, object], status: int, code: int, words: str
) -> None:
    """Issuer, audience and subject are compared letter by letter, each with a code and sentence of its own."""
    assertion = office.cluster.token(subject, datetime.now(UTC), **claims)
    answer = await asyncio.to_thread(peer.post_token, peer.federated_form(assertion))
    assert (status, [code]) == (answer.status, answer.json["error_codes"])
    assert words in answer.json["error_description"]


async def test_an_app_without_federated_credentials_says_all_three(office: Microsoft365, peer: Peer) -> None:
    """Without a record the refusal is a 400 that names issuer, subject and audience (70021)."""
    await office.inject("federation_missing", "cluster-mailer")
    answer = await asyncio.to_thread(peer.post_token, peer.federated_form())
    assert (400, "invalid_request", [70021]) == (answer.status, answer.json["error"], answer.json["error_codes"])
    for name, value in (("Issuer", CLUSTER), ("Subject", CLUSTER_SUBJECT), ("Audience", FEDERATION_AUDIENCE)):
        assert re.search(rf"Assertion {name}: '{re.escape(value)}'", answer.json["error_description"])


async def test_a_forged_token_is_refused(peer: Peer) -> None:
    """A token that says all the right things and bears another signature is refused (50013)."""
    forged = Issuer(make_key(), CLUSTER).token(CLUSTER_SUBJECT, datetime.now(UTC))
    answer = await asyncio.to_thread(peer.post_token, peer.federated_form(forged))
    assert (401, [50013]) == (answer.status, answer.json["error_codes"])


async def test_clocks_may_be_five_minutes_off(office: Microsoft365, peer: Peer) -> None:
    """A token that expired four minutes ago is still taken, one of six minutes is not."""
    statuses = []
    for minutes in (4, 6):
        made = datetime.now(UTC) - timedelta(hours=1, minutes=minutes)
        form = peer.federated_form(office.cluster.token(CLUSTER_SUBJECT, made))
        statuses.append((await asyncio.to_thread(peer.post_token, form)).status)
    assert [200, 401] == statuses
