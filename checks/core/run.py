"""One run of one check, under one deadline, to one frozen result. Here evidence becomes findings, and only here."""

from __future__ import annotations

import asyncio
import logging

from checks.core.causes import table
from checks.core.check import Check
from checks.core.kit import Kit
from checks.core.model import Evidence, Finding, Kind, Result
from checks.core.secret import Redactor
from checks.core.settings import Settings
from checks.core.target import Target, subject_of
from checks.core.trace import Failure, Trace

_log = logging.getLogger(__name__)


async def run_check(
    check: Check, target: Target, settings: Settings, kit: Kit, *, watch: str, seconds: float
) -> Result:
    """Run a check once; always a result, within `seconds`, unless the run is cancelled: then none."""
    trace = Trace(kit.clock, Redactor(target.private))
    started_at, start = kit.clock.now(), kit.clock.monotonic()
    try:
        async with asyncio.timeout(seconds):
            await check.run(target, settings, trace, kit)
    except Failure as failure:
        trace.fail(failure.evidence)
    except TimeoutError:
        trace.fail(trace.failure(Kind.TIMEOUT, f"no answer within {seconds:g} s").evidence)
    except Exception as defect:  # noqa: BLE001 - a defect of ours must not look like one of theirs, nor stop a run
        _log.exception("check %s failed on %s by a defect", check.name, watch)
        trace.fail(trace.failure(Kind.INTERNAL, type(defect).__name__).evidence)
    return Result(
        run_id=f"{kit.rng.getrandbits(64):016x}",
        watch=watch,
        check=check.name,
        started_at=started_at,
        seconds=kit.clock.monotonic() - start,
        phases=tuple(trace.phases),
        measures=trace.measures,
        facts=tuple(trace.facts),
        findings=tuple(finding_of(evidence, target) for evidence in trace.evidence),
        transcript=trace.transcript() if trace.evidence else (),
    )


def finding_of(evidence: Evidence, target: Target) -> Finding:
    """What evidence means for a target: its cause, and what that reaches."""
    cause = table().classify(evidence)
    return Finding(
        cause=cause.id,
        level=cause.level,
        subject=subject_of(target, cause.scope, evidence),
        evidence=evidence,
    )
