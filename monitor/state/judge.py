"""Judges a result: (state, result, policy, now) to (state, change). Pure.

Good are `pass` and `info`; bad are `warn` and `fail`. `throttled` is neutral: the other side is busy, which neither breaks
nor heals a watch. `unknown` says nothing about the watch, so it moves one that was not firing to `unknown` and leaves the
others alone. It takes `policy.fail_after` bad results in a row to fire, and `policy.recover_after` good ones to recover.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from checks.core.model import Outcome, Result
from monitor.model import Change, Policy, Status, WatchState

# A mailbox whose cause harms it when provoked is tried again after at most this time, in seconds.
MAX_BACK_OFF = 4 * 3600.0

_GOOD = frozenset({Outcome.PASS, Outcome.INFO})
_BAD = frozenset({Outcome.WARN, Outcome.FAIL})


class ChangeReason(StrEnum):
    """Why a result left a watch as it did."""

    PASSED = "passed"
    FAILED = "failed"
    FIRED = "fired"
    CAUSE_CHANGED = "cause_changed"
    RECOVERING = "recovering"
    RECOVERED = "recovered"
    RELAPSED = "relapsed"
    NEUTRAL = "neutral"
    UNKNOWN = "unknown"


def judge(state: WatchState, result: Result, policy: Policy, now: datetime, *, harm: bool, interval: float) -> Change:
    """What a result makes of a watch. `harm`: its cause hurts the mailbox when provoked; `interval` in seconds."""
    outcome = result.outcome
    seen = replace(state, outcome=outcome, last_seen_at=now)
    if outcome in _GOOD:
        after, reason = _good(replace(seen, last_pass_at=now, failures=0, backed_off_until=None), policy)
    elif outcome in _BAD:
        failures = state.failures + 1
        # Half an interval early: the slot that is meant begins a moment before the run that counts from it.
        until = result.started_at + timedelta(seconds=back_off(failures, interval) - interval / 2) if harm else None
        after, reason = _bad(
            replace(seen, failures=failures, finding=result.worst, backed_off_until=until), state, policy
        )
    elif outcome is Outcome.UNKNOWN and not state.broken:
        after, reason = replace(seen, status=Status.UNKNOWN, streak=1, finding=result.worst), ChangeReason.UNKNOWN
    else:
        after, reason = seen, ChangeReason.NEUTRAL
    if after.status is not state.status:
        after = replace(after, since=now)
    return Change(before=state, after=after, reason=reason)


def back_off(failures: int, interval: float) -> float:
    """Seconds to the next try after so many failures in a row: the interval, doubled each time, to `MAX_BACK_OFF`."""
    return min(interval * 2.0 ** min(failures - 1, 32), max(MAX_BACK_OFF, interval))


def _good(state: WatchState, policy: Policy) -> tuple[WatchState, ChangeReason]:
    if not state.broken:
        streak = state.streak + 1 if state.status is Status.OK else 1
        return replace(state, status=Status.OK, streak=streak, finding=None), ChangeReason.PASSED
    streak = state.streak + 1 if state.status is Status.RECOVERING else 1
    if streak >= policy.recover_after:
        return replace(state, status=Status.OK, streak=streak, finding=None), ChangeReason.RECOVERED
    return replace(state, status=Status.RECOVERING, streak=streak), ChangeReason.RECOVERING


def _bad(state: WatchState, before: WatchState, policy: Policy) -> tuple[WatchState, ChangeReason]:
    if before.status is Status.RECOVERING:
        return replace(state, status=Status.FIRING, streak=1), ChangeReason.RELAPSED
    if before.status is Status.FIRING:
        same = before.finding is not None and state.finding is not None and before.finding.cause == state.finding.cause
        reason = ChangeReason.FAILED if same else ChangeReason.CAUSE_CHANGED
        return replace(state, streak=before.streak + 1), reason
    streak = before.streak + 1 if before.status is Status.SUSPECT else 1
    if streak >= policy.fail_after:
        return replace(state, status=Status.FIRING, streak=streak), ChangeReason.FIRED
    return replace(state, status=Status.SUSPECT, streak=streak), ChangeReason.FAILED
