"""The verdict on a canary as a result of the derived watch `delivery` of its mailbox. Pure."""

from __future__ import annotations

from datetime import datetime

from checks.core.model import Evidence, Finding, Folder, Kind, Phase, Protocol, Result
from checks.core.run import finding_of
from checks.core.target import Mailbox
from monitor.model import Canary, Fate
from monitor.plan import DELIVERY


def verdict(canary: Canary, mailbox: Mailbox, watch: str, now: datetime) -> Result | None:
    """What a canary's new fate says of its mailbox; None where nothing new is said."""
    observed = _observed(canary)
    if observed is None and canary.fate is not Fate.DELIVERED:
        return None
    delay = canary.delay
    return Result(
        run_id=f"{canary.id[:16]}",
        watch=watch,
        check=DELIVERY,
        started_at=now,
        seconds=0.0,
        phases=(),
        measures={} if delay is None else {"delivery_seconds": delay},
        findings=() if observed is None else (_finding(observed, mailbox),),
    )


def _observed(canary: Canary) -> tuple[str, str] | None:
    """Code and sentence of what is wrong. What was said to be late is not said to be late again when it arrives."""
    took = f"{canary.delay:.0f} s" if canary.delay is not None else ""
    match canary.fate:
        case Fate.LOST:
            return "canary_lost", f"the canary of {canary.sent_at:%H:%M:%S} UTC was not seen in inbox {canary.inbox}"
        case Fate.LATE:
            return "canary_late", f"the canary of {canary.sent_at:%H:%M:%S} UTC is not in inbox {canary.inbox} yet"
        case Fate.DELIVERED_LATE if not canary.told_late:
            return "canary_late", f"the canary took {took} to inbox {canary.inbox}"
        case Fate.DELIVERED if canary.folder is Folder.JUNK:
            return "canary_junked", f"the canary arrived after {took} in the junk folder of inbox {canary.inbox}"
        case _:
            return None


def _finding(observed: tuple[str, str], mailbox: Mailbox) -> Finding:
    code, text = observed
    evidence = Evidence(protocol=Protocol.IMAP, phase=Phase.SEARCH, kind=Kind.OBSERVED, code=code, text=text)
    return finding_of(evidence, mailbox)
