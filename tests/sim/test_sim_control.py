"""The control endpoint, by an HTTP client."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from monitor.sim import KINDS
from monitor.sim.contoso import BILLING_SECRET, PARTNER_PASSWORD
from tests.sim.sim_peer import BILLING, CANARY, Answer, Peer

if TYPE_CHECKING:
    from monitor.sim import Microsoft365


async def ask(peer: Peer, method: str, path: str, body: object = None) -> Answer:
    """One request, in a thread."""
    return await asyncio.to_thread(peer.control, method, path, body)


def send_one(peer: Peer) -> None:
    """One message from billing to the canary mailbox."""
    with peer.logged_on() as session:
        session.sendmail(BILLING, [CANARY], f"From: {BILLING}\r\nSubject: Probe\r\n\r\nBody.\r\n")


async def test_a_fault_is_injected_and_repaired_over_http(peer: Peer) -> None:
    """POST puts a fault in force, GET shows it, DELETE takes it away."""
    made = await ask(peer, "POST", "/faults", {"fault": "silent", "subject": "smtp", "phase": "auth"})
    listed = (await ask(peer, "GET", "/faults")).json["active"]
    repaired = await ask(peer, "DELETE", f"/faults/{made.json['id']}")
    gone = await ask(peer, "DELETE", f"/faults/{made.json['id']}")
    assert (201, [made.json]) == (made.status, listed)
    expected = {"fault": "silent", "subject": "smtp", "phase": "auth"}
    assert expected == {name: made.json[name] for name in expected}
    assert (200, made.json) == (repaired.status, repaired.json)
    assert (404, {"error": f"no fault '{made.json['id']}' is in force"}) == (gone.status, gone.json)
    assert [] == (await ask(peer, "GET", "/faults")).json["active"]


async def test_the_table_of_faults_can_be_read(peer: Peer) -> None:
    """Every kind is listed with the JSON Schema of its settings."""
    kinds = (await ask(peer, "GET", "/faults")).json["kinds"]
    assert sorted(KINDS) == sorted(kind["fault"] for kind in kinds)
    (drip,) = (kind for kind in kinds if kind["fault"] == "drip")
    assert ("smtp or entra or imap or pop", ["phase"]) == (drip["subject"], drip["settings"]["required"])


async def test_the_world_shows_what_happened_and_no_secret(peer: Peer) -> None:
    """Counters of a mailbox stand in the world; values of secrets do not."""
    await asyncio.to_thread(send_one, peer)
    answer = await ask(peer, "GET", "/world")
    (billing,) = (one for one in answer.json["mailboxes"] if one["address"] == BILLING)
    expected = {"sessions": 1, "most_open": 1, "auth_accepted": 1, "auth_refused": 0, "messages_accepted": 1}
    assert expected == {name: billing["traffic"][name] for name in expected}
    assert ["billing-mailer", "hr-portal"] == [app["name"] for app in answer.json["apps"]][:2]
    assert BILLING_SECRET.encode() not in answer.body
    assert PARTNER_PASSWORD.encode() not in answer.body


async def test_submissions_are_listed_by_mailbox(peer: Peer) -> None:
    """The log of messages can be asked for one mailbox."""
    await asyncio.to_thread(send_one, peer)
    everything = (await ask(peer, "GET", "/submissions")).json
    ours = (await ask(peer, "GET", f"/submissions?mailbox={BILLING.upper()}")).json
    others = (await ask(peer, "GET", f"/submissions?mailbox={CANARY}")).json
    assert [("Probe", True, [CANARY])] == [(one["subject"], one["accepted"], one["recipients"]) for one in everything]
    assert (everything, []) == (ours, others)


async def test_reset_repairs_and_forgets(office: Microsoft365, peer: Peer) -> None:
    """After a reset the office is as new, its ports open."""
    await asyncio.to_thread(send_one, peer)
    await ask(peer, "POST", "/faults", {"fault": "refused", "subject": "smtp"})
    await ask(peer, "POST", "/inbox/oncall", {"title": "x"})
    assert 200 == (await ask(peer, "POST", "/reset")).status
    assert ([], []) == ((await ask(peer, "GET", "/submissions")).json, (await ask(peer, "GET", "/inbox/oncall")).json)
    assert {} == office.world.faults
    await asyncio.to_thread(send_one, peer)
    assert 1 == office.world.traffic_of(BILLING).sessions


async def test_an_inbox_keeps_what_is_posted(peer: Peer) -> None:
    """JSON is kept as what it means, anything else as text; every name is an inbox of its own."""
    sent = [await ask(peer, "POST", "/inbox/oncall", body) for body in ({"title": "down"}, b"plain \xff text")]
    kept = (await ask(peer, "GET", "/inbox/oncall")).json
    assert [204, 204] == [one.status for one in sent]
    assert [{"title": "down"}, "plain \ufffd text"] == [post["body"] for post in kept]
    assert [] == (await ask(peer, "GET", "/inbox/other")).json


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/faults", b"{", 400, "the body is not JSON: "),
        ("POST", "/faults", b"\xff", 400, "the body is not JSON: "),
        ("POST", "/faults", [1], 400, "expected an object with fault and subject"),
        ("POST", "/faults", {}, 400, "unknown fault None; known are "),
        ("POST", "/faults", {"fault": ["a"]}, 400, "unknown fault ['a']; known are "),
        ("POST", "/faults", {"fault": "refused"}, 400, "refused: subject: expected the name of a server, got None"),
        ("POST", "/faults", {"fault": "silent", "subject": "smtp", "phase": 7}, 400, "silent: phase: Input should be"),
        ("POST", "/faults", b" " * ((1 << 20) + 1), 413, f"POST /faults: {HTTPStatus.REQUEST_ENTITY_TOO_LARGE.phrase}"),
        ("GET", "/nowhere", None, 404, "GET /nowhere: Not Found"),
        ("PUT", "/world", None, 405, "PUT /world: Method Not Allowed"),
        ("DELETE", "/faults/f99", None, 404, "no fault 'f99' is in force"),
    ],
)
async def test_a_mistake_is_answered_in_json(
    peer: Peer, method: str, path: str, body: Any, status: int, words: str
) -> None:
    """Whatever is wrong with a request, the answer is a 4xx status and one sentence."""
    answer = await ask(peer, method, path, body)
    assert status == answer.status
    assert answer.json["error"].startswith(words)
