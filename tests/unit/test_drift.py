"""Drift: what an endpoint shows of itself, compared with last time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from checks.core.cloud import Endpoint, Family
from checks.core.model import (
    CertificateSeen,
    EndpointSeen,
    Fact,
    Level,
    Outcome,
    Phase,
    PhaseTime,
    Protocol,
    Result,
    Scope,
    Subject,
)
from checks.core.target import Route
from monitor.state.drift import drift, remembered
from tests.unit.world import CREDENTIAL, DISABLED, T0, mailbox

ENDPOINT = "smtp.contoso.example:587"
ROUTE = Route(protocol=Protocol.SMTP, endpoint=Endpoint(host="smtp.contoso.example", port=587), family=Family.IPV4)
LEAF = CertificateSeen(
    endpoint=ENDPOINT,
    position=0,
    subject="CN=smtp.contoso.example",
    issuer="CN=Old CA",
    not_before=T0,
    not_after=T0 + timedelta(days=30),
    fingerprint="ab" * 32,
)
ROOT = replace(LEAF, position=1, subject="CN=Old CA", fingerprint="cd" * 32)


def offers(*mechanisms: str) -> EndpointSeen:
    """An endpoint that offers these."""
    return EndpointSeen(
        endpoint=ENDPOINT, ip="192.0.2.1", tls_version="TLSv1.3", cipher="x", auth_mechanisms=mechanisms
    )


def ran(*facts: Fact) -> Result:
    """A clean run that learned these facts."""
    return Result(
        run_id="1",
        watch="endpoint/x",
        check="endpoint",
        started_at=T0,
        seconds=0.1,
        phases=(PhaseTime(Phase.TLS, 0.1, finished=True),),
        facts=facts,
    )


def news(before: tuple[Fact, ...], *after: Fact) -> list[str]:
    """The causes that a comparison adds."""
    return [finding.cause for finding in drift(before, ran(*after), ROUTE).findings]


@pytest.mark.parametrize(
    ("old", "new", "causes"),
    [
        (("LOGIN", "XOAUTH2"), ("LOGIN", "XOAUTH2"), []),
        (("LOGIN", "XOAUTH2"), ("XOAUTH2",), ["endpoint.login_gone"]),
        (("LOGIN", "XOAUTH2"), ("LOGIN",), []),
        (("XOAUTH2",), ("OAUTHBEARER", "XOAUTH2"), ["endpoint.mechanisms_changed"]),
        (("LOGIN", "PLAIN", "XOAUTH2"), ("XOAUTH2",), ["endpoint.login_gone", "endpoint.mechanisms_changed"]),
        (("XOAUTH2",), ("LOGIN", "XOAUTH2"), ["endpoint.mechanisms_changed"]),
        (("LOGIN",), ("LOGIN", "XOAUTH2"), ["endpoint.mechanisms_changed"]),
        (("USER", "XOAUTH2"), ("XOAUTH2",), ["endpoint.login_gone"]),
        ((), (), []),
    ],
)
def test_mechanisms_that_come_and_go_are_news(old: tuple[str, ...], new: tuple[str, ...], causes: list[str]) -> None:
    """LOGIN (in POP: USER) that goes is its own news, XOAUTH2 that goes fails in the run itself, every other change is one piece of news."""
    assert causes == news((offers(*old),), offers(*new))


def test_where_xoauth2_need_not_be_offered_its_loss_is_news() -> None:
    """Elsewhere it is a failure of the run, which tells it."""
    unused = replace(ROUTE, xoauth2=False)
    result = drift((offers("LOGIN", "XOAUTH2"),), ran(offers("LOGIN")), unused)
    assert ["endpoint.mechanisms_changed"] == [finding.cause for finding in result.findings]


def test_news_is_information_and_says_what_was_and_what_is() -> None:
    """The outcome of a clean run becomes info, the endpoint is the subject, and the text has both lists."""
    result = drift((offers("LOGIN", "XOAUTH2"),), ran(offers("XOAUTH2")), ROUTE)
    (finding,) = result.findings
    assert (Outcome.INFO, Level.INFO) == (result.outcome, finding.level)
    assert Subject(Scope.ENDPOINT, ENDPOINT) == finding.subject
    assert ("AUTH LOGIN XOAUTH2 became AUTH XOAUTH2", Phase.EHLO) == (finding.evidence.text, finding.evidence.phase)


def test_another_leaf_is_news_with_both_ends() -> None:
    """A renewed certificate is told with the old and the new end, in the phase tls; the rest of the chain may change."""
    renewed = replace(LEAF, fingerprint="12" * 32, not_after=T0 + timedelta(days=120))
    result = drift((LEAF, ROOT), ran(renewed, replace(ROOT, fingerprint="34" * 32)), ROUTE)
    (finding,) = result.findings
    assert ("endpoint.certificate_changed", Phase.TLS) == (finding.cause, finding.evidence.phase)
    assert "until 2026-12-25 (SHA-256 ab:ab:" in finding.evidence.text
    assert "until 2027-03-25 (SHA-256 12:12:" in finding.evidence.text


def test_another_issuer_is_news_of_its_own() -> None:
    """A leaf by another CA is told as changed and by whom it was signed."""
    moved = replace(LEAF, fingerprint="12" * 32, issuer="CN=New CA")
    assert ["endpoint.certificate_changed", "endpoint.issuer_changed"] == news((LEAF,), moved)


@pytest.mark.parametrize(("before", "after"), [((), (offers(), LEAF)), ((offers("LOGIN"), LEAF), ())])
def test_nothing_to_compare_with_is_no_news(before: tuple[Fact, ...], after: tuple[Fact, ...]) -> None:
    """The first run, and one that saw nothing, change nothing: the result is the same object."""
    result = ran(*after)
    assert result is drift(before, result, ROUTE)


def test_only_the_endpoint_tells_its_drift() -> None:
    """What mailboxes and credentials saw of an endpoint is not told once more for each of them."""
    result = ran(offers("XOAUTH2"))
    for target in (mailbox("billing"), CREDENTIAL):
        assert result is drift((offers("LOGIN", "XOAUTH2"),), result, target)


def test_what_failed_stays_the_first_finding() -> None:
    """News comes behind what the run itself found and does not become the worst of it."""
    result = drift((LEAF,), replace(ran(replace(LEAF, fingerprint="12" * 32)), findings=(DISABLED,)), ROUTE)
    assert [DISABLED.cause, "endpoint.certificate_changed"] == [finding.cause for finding in result.findings]
    assert DISABLED is result.worst


def test_an_outage_hides_no_change() -> None:
    """What a run did not see is remembered from before it, sort by sort; what it saw takes its place."""
    offered = offers("LOGIN", "XOAUTH2")
    memory = remembered((), ran(offered, LEAF, ROOT))
    memory = remembered(memory, ran())
    renewed = replace(LEAF, fingerprint="12" * 32)
    assert ["endpoint.certificate_changed"] == news(memory, renewed)
    memory = remembered(memory, ran(renewed))
    assert (offered, renewed) == memory
    assert ["endpoint.login_gone"] == news(memory, offers("XOAUTH2"), renewed)
