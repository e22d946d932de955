"""The checks against the embedded Microsoft 365: what passes, and what every fault is called."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import pytest

from checks.core.material import ClientSecret
from checks.core.model import Kind, Outcome, Phase, Sent
from checks.core.secret import Redactor, Secret
from checks.core.trace import Trace
from checks.registry import CHECKS
from checks.wire.kit import TOKEN_THREADS
from monitor.sim import entra

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.core.model import Result
    from tests.checks.lab import Lab


def names(result: Result) -> list[Phase]:
    """The phases in the order they were first entered."""
    return list(dict.fromkeys(time.phase for time in result.phases))


@pytest.mark.parametrize("check", CHECKS)
async def test_every_check_passes_against_a_healthy_service(lab: Lab, check: str) -> None:
    """Every check in the registry passes, enters only phases that it declares, and ends them all."""
    result = await lab.run(check)
    assert (Outcome.PASS, ()) == (result.outcome, result.findings)
    assert set(names(result)) <= set(CHECKS[check].phases)
    assert all(time.finished for time in result.phases)
    assert result.seconds >= sum(time.seconds for time in result.phases) > 0
    assert result.transcript == ()


async def test_a_certificate_credential_gets_a_token(lab: Lab) -> None:
    """A client assertion signed with the app's certificate is accepted, and the token says so (appidacr 2)."""
    result = await lab.run("token", lab.credential("hr-portal"))
    assert Outcome.PASS is result.outcome
    assert "2" == result.facts[0].credential_kind


async def test_the_token_check_always_asks_the_authority(lab: Lab) -> None:
    """A secret that expires is seen by the very next token check, although an older token still lives."""
    assert Outcome.PASS is (await lab.run("smtp_auth")).outcome
    assert Outcome.PASS is (await lab.run("token")).outcome
    await lab.office.inject("secret_expired", "billing-mailer")
    result = await lab.run("token")
    assert ("entra.secret_expired", 7000222) == (result.worst.cause, result.worst.evidence.aadsts)
    assert "billing-mailer/current" == result.worst.subject.key
    assert Outcome.PASS is (await lab.run("smtp_auth")).outcome, "the issued token carries on"


async def test_a_canary_is_delivered_and_reported_as_sent(lab: Lab) -> None:
    """The canary stands in the mailbox, marked with the id that the result reports."""
    result = await lab.run("canary")
    (sent,) = [fact for fact in result.facts if isinstance(fact, Sent)]
    submissions = lab.office.world.submissions
    assert 1 == len(submissions)
    assert ("billing", 1) == (sent.mailbox, sent.recipients)


SMTP_FAULTS: list[tuple[str, str, Mapping[str, object], str, Phase, Kind]] = [
    ("refused", "smtp", {}, "smtp_auth", Phase.CONNECT, Kind.REFUSED),
    ("silent", "smtp", {"phase": "banner"}, "smtp_auth", Phase.BANNER, Kind.TIMEOUT),
    ("silent", "smtp", {"phase": "ehlo"}, "smtp_auth", Phase.EHLO, Kind.TIMEOUT),
    ("silent", "smtp", {"phase": "starttls"}, "smtp_auth", Phase.STARTTLS, Kind.TIMEOUT),
    ("silent", "smtp", {"phase": "tls"}, "smtp_auth", Phase.TLS, Kind.TIMEOUT),
    ("silent", "smtp", {"phase": "auth"}, "smtp_auth", Phase.AUTH, Kind.TIMEOUT),
    ("silent", "smtp", {"phase": "quit"}, "smtp_auth", Phase.QUIT, Kind.TIMEOUT),
    ("silent", "smtp", {"phase": "accept"}, "canary", Phase.ACCEPT, Kind.TIMEOUT),
    ("reset", "smtp", {"phase": "banner"}, "smtp_auth", Phase.BANNER, Kind.RESET),
    ("reset", "smtp", {"phase": "auth"}, "smtp_auth", Phase.AUTH, Kind.RESET),
    ("reset", "smtp", {"phase": "accept"}, "canary", Phase.ACCEPT, Kind.RESET),
    ("closed", "smtp", {"phase": "banner"}, "smtp_auth", Phase.BANNER, Kind.CLOSED),
    ("closed", "smtp", {"phase": "auth"}, "smtp_auth", Phase.AUTH, Kind.CLOSED),
    ("nonsense", "smtp", {"phase": "banner"}, "smtp_auth", Phase.BANNER, Kind.NONSENSE),
    ("nonsense", "smtp", {"phase": "auth"}, "smtp_auth", Phase.AUTH, Kind.NONSENSE),
    ("certificate", "smtp", {"problem": "expired"}, "smtp_auth", Phase.TLS, Kind.TLS),
    ("certificate", "smtp", {"problem": "wrong_name"}, "smtp_auth", Phase.TLS, Kind.TLS),
    ("certificate", "smtp", {"problem": "unknown_ca"}, "smtp_auth", Phase.TLS, Kind.TLS),
    ("no_starttls", "smtp", {}, "smtp_auth", Phase.EHLO, Kind.OBSERVED),
    ("no_xoauth2", "smtp", {}, "smtp_auth", Phase.EHLO, Kind.OBSERVED),
    ("mailbox_full", "billing@contoso.example", {}, "canary", Phase.ACCEPT, Kind.REPLY),
    ("smtp_auth_disabled_mailbox", "billing@contoso.example", {}, "smtp_auth", Phase.AUTH, Kind.REPLY),
    ("refused", "entra", {}, "token", Phase.CONNECT, Kind.REFUSED),
    ("silent", "entra", {"phase": "token"}, "token", Phase.TOKEN, Kind.TIMEOUT),
    ("closed", "entra", {"phase": "token"}, "token", Phase.TOKEN, Kind.CLOSED),
    ("certificate", "entra", {"problem": "unknown_ca"}, "token", Phase.TLS, Kind.TLS),
    ("http_html_error", "entra", {}, "token", Phase.TOKEN, Kind.HTTP),
    ("http_endless", "entra", {}, "token", Phase.TOKEN, Kind.NONSENSE),
    ("http_redirect", "entra", {}, "token", Phase.TOKEN, Kind.HTTP),
    ("tenant_unknown", "contoso.example", {}, "token", Phase.TOKEN, Kind.OAUTH),
]


@pytest.mark.parametrize(("fault", "subject", "settings", "check", "phase", "kind"), SMTP_FAULTS)
async def test_a_fault_is_reported_in_its_phase(
    lab: Lab, fault: str, subject: str, settings: Mapping[str, object], check: str, phase: Phase, kind: Kind
) -> None:
    """A fault ends the run within its deadline, as evidence of the right phase and kind, with a cause."""
    if check != "token":
        await lab.kit.tokens.current(lab.credential(), Trace(lab.kit.clock, Redactor()))
    await lab.office.inject(fault, subject, settings)
    result = await lab.run(check, seconds=0.7)
    assert result.worst is not None
    assert (phase, kind) == (result.worst.evidence.phase, result.worst.evidence.kind), result.worst.evidence
    assert "unrecognised" != result.worst.cause, result.worst.evidence
    assert "monitor.defect" != result.worst.cause
    assert result.seconds < 1.5
    assert not result.phases[-1].finished or kind is Kind.OBSERVED


async def test_a_cancelled_run_makes_no_result_and_leaves_no_thread(lab: Lab) -> None:
    """Cancelled while the authority is silent, sixteen runs make no result and free all sixteen pool threads."""
    await lab.office.inject("silent", "entra", {"phase": "token"})
    runs = [asyncio.create_task(lab.run("token", seconds=30)) for _ in range(TOKEN_THREADS)]
    _, waiting = await asyncio.wait(runs, timeout=0.5)
    assert TOKEN_THREADS == len(waiting)
    for run in runs:
        run.cancel()
    ended = await asyncio.gather(*runs, return_exceptions=True)
    assert [asyncio.CancelledError] * TOKEN_THREADS == [type(end) for end in ended]
    await lab.office.reset()
    assert Outcome.PASS is (await lab.run("token", seconds=5)).outcome, "no thread is held"


async def test_a_broken_credential_is_asked_once_for_all_mailboxes(lab: Lab) -> None:
    """Twenty mailboxes behind a refused secret make one request: Entra's loop detection is never woken."""
    wrong = lab.credential(material=ClientSecret(Secret("wrong~secret")))
    mailbox = dataclasses.replace(lab.mailbox(), credential=wrong)
    results = await asyncio.gather(*(lab.run("smtp_auth", mailbox) for _ in range(20)))
    assert {"entra.secret_invalid"} == {result.worst.cause for result in results}
    assert [Phase.TOKEN] * 20 == [result.phases[-1].phase for result in results]


async def test_nothing_private_is_in_a_result(lab: Lab) -> None:
    """Neither token, secret nor any address stands in a failed result, its transcript included."""
    await lab.office.inject("smtp_auth_disabled_mailbox", "billing@contoso.example")
    result = await lab.run("canary")
    assert result.transcript
    text = repr(result)
    assert "billing@contoso.example" not in text
    assert "eyJ" not in text
    assert "sim8Q" not in text


async def test_a_run_that_passes_redacts_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transcript that nobody will see is not made fit to be seen: that would cost more than the whole dialogue."""
    assert Outcome.PASS is (await lab.run("smtp_auth")).outcome

    def never(self: Redactor, text: str) -> str:
        raise AssertionError(text)

    monkeypatch.setattr(Redactor, "__call__", never)
    assert Outcome.PASS is (await lab.run("smtp_auth")).outcome


async def test_twenty_runs_at_once_share_one_token(lab: Lab) -> None:
    """Concurrent probes of one credential make one token request."""
    results = await asyncio.gather(*(lab.run("smtp_auth") for _ in range(20)))
    assert [Outcome.PASS] * 20 == [result.outcome for result in results]


async def test_a_short_lived_token_is_shared_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tokens live shorter than mail wants them to, probes do not ask for a new one each: that would be a loop."""
    monkeypatch.setattr(entra, "LIFETIME_S", (500, 500))
    await lab.run("smtp_auth")
    await lab.office.inject("refused", "entra")
    assert Outcome.PASS is (await lab.run("smtp_auth")).outcome
