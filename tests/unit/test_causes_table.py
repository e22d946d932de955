"""The table of causes: every example finds its own row, and no evidence breaks the matcher."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.causes import UNRECOGNISED, Cause, table
from checks.core.model import Evidence, Kind, Phase, Protocol, Scope

EXAMPLES = [(cause.id, example) for cause in table() for example in cause.examples]


@pytest.mark.parametrize(("cause", "example"), EXAMPLES)
def test_an_example_finds_its_own_row_and_no_other(cause: str, example: Evidence) -> None:
    """Every example in the table is classified to the row it stands in, without a tie."""
    assert [cause] == [found.id for found in table().best(example)]


@pytest.mark.parametrize("cause", list(table()), ids=lambda cause: cause.id)
def test_a_row_is_whole(cause: Cause) -> None:
    """Every row has a short title, a meaning, steps, a source and an example; only a transient one ages."""
    assert 0 < len(cause.title) <= 60
    assert cause.meaning.endswith(".")
    assert cause.steps
    assert cause.source
    assert cause.examples
    assert cause.permanent_after is None or cause.permanence.value == "transient"


def test_a_trailer_and_white_space_change_nothing() -> None:
    """Exchange's trailer, folded lines and letter case are no part of the sentence."""
    for cause, example in EXAMPLES:
        if example.protocol is Protocol.SMTP and example.kind is Kind.REPLY:
            text = example.text.replace(" ", "  ").upper() + " [AM0PR01CA0001.eurprd01.prod.exchangelabs.com]"
            assert cause == table().classify(replace(example, text=text)).id


def test_an_enhanced_code_is_text() -> None:
    """5.7.606 (banned address) is not 5.7.60 (send as), and 550 5.2.252 is not 554 5.2.252."""
    banned = Evidence(
        protocol=Protocol.SMTP, phase=Phase.ACCEPT, kind=Kind.REPLY, code="550", enhanced_code="5.7.606", text="x"
    )
    assert "exchange.send_as_denied" != table().classify(banned).id
    throttled = replace(banned, enhanced_code="5.2.252", text="5.2.252 continuous send as denied errors.")
    assert "exchange.error_throttled" == table().classify(throttled).id


def test_what_is_in_no_row_is_unrecognised() -> None:
    """A reply that no row describes is honestly unrecognised, and reaches no further than its target."""
    strange = Evidence(protocol=Protocol.SMTP, phase=Phase.OPEN, kind=Kind.REPLY, code="299", text="?")
    assert (UNRECOGNISED, Scope.TARGET) == (table().classify(strange).id, table().classify(strange).scope)


def test_steps_name_what_is_known_and_mark_what_is_not() -> None:
    """Placeholders are filled from the target; one without a word stays readable; braces in words do no harm."""
    cause = table()["exchange.smtp_auth_disabled_mailbox"]
    assert "-Identity {x}" in cause.steps_for({"address": "{x}"})[0]
    assert "-Identity <address>" in cause.steps_for({})[0]


TEXT = st.text(max_size=300)


@given(
    protocol=st.sampled_from(Protocol),
    phase=st.sampled_from(Phase),
    kind=st.sampled_from(Kind),
    code=st.none() | st.text(alphabet=string.digits + "x", max_size=4) | TEXT,
    enhanced=st.none() | TEXT,
    aadsts=st.none() | st.integers(),
    error=st.none() | TEXT,
    text=TEXT,
)
def test_any_evidence_has_a_cause(
    protocol: Protocol, phase: Phase, kind: Kind, code: str | None, enhanced: str | None, aadsts: int | None,
    error: str | None, text: str,
) -> None:  # fmt: skip
    """Whatever the other side says, the table answers with one of its rows."""
    evidence = Evidence(
        protocol=protocol, phase=phase, kind=kind, code=code, enhanced_code=enhanced, aadsts=aadsts, error=error,
        text=text,
    )  # fmt: skip
    assert table().classify(evidence) in list(table())
