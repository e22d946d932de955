"""Our own network, judged before others are blamed.

The hosts of `network.reach` are connected to in rounds. When none of them can be reached, our own network is what failed:
then what looks like a network failure says nothing about the endpoint, the mailbox or the authority it was seen at. Such
results become unknown, and one watch of our own (`WATCH`) fails. Without `network.reach` nothing of this happens, and
before the first round the network is believed to be up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from checks.core.causes import table
from checks.core.cloud import Endpoint
from checks.core.kit import Kit
from checks.core.model import Evidence, Finding, Kind, Level, Phase, Protocol, Result, Scope, Subject
from checks.core.secret import Redactor
from checks.core.trace import Failure, Trace
from checks.wire.net import connect
from monitor.plan import NETWORK, REACH_INTERVAL, REACH_TIMEOUT, watch_id

OURSELVES = Subject(Scope.NETWORK, "self")
WATCH = watch_id(NETWORK, OURSELVES.key)
CAUSE = "monitor.network_down"

# A round is believed for this long before failures make us look anew.
FRESH = timedelta(seconds=2)
# Failures are remembered and repeated after the network is back: of look-ups for 5 s, of tokens for 60 s.
AFTERMATH = timedelta(seconds=60)
# A network that went away more often than once in this time is not believed to be back: else one that comes and goes
# excused everything and was never told.
FLAPPING = timedelta(minutes=5)
# Rounds that are remembered. One in `FRESH` at most: enough for the longest runs and their wait in the queue.
ROUNDS = 120

# A refusal counts: with our uplink down it is a router of ours that refuses.
_NETWORK_LIKE = frozenset({Kind.RESOLVE, Kind.REFUSED, Kind.UNREACHABLE, Kind.TIMEOUT, Kind.CLOSED, Kind.RESET})
# Whoever refuses or resets was reached.
_ANSWERED = frozenset({Kind.REFUSED, Kind.RESET})


def network_like(evidence: Evidence) -> bool:
    """Whether a dead network of ours could look like this. That a name has no address of a family (its code) could not."""
    if evidence.kind is Kind.RESOLVE:
        return evidence.code is None
    return evidence.kind in _NETWORK_LIKE


def excuse(result: Result, *, reachable: bool) -> Result:
    """The result as it is to be judged: while nothing is reachable, network failures are nobody's but our network's."""
    if reachable:
        return result
    findings = tuple(_excused(finding) if network_like(finding.evidence) else finding for finding in result.findings)
    return replace(result, findings=findings)


def _excused(finding: Finding) -> Finding:
    return replace(finding, cause=CAUSE, level=Level.UNKNOWN, subject=OURSELVES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One look at everything that must be reachable: for each host that could not be reached, why."""

    began: datetime
    asked: int
    unreached: Mapping[str, str]

    @property
    def reachable(self) -> bool:
        """Whether our network is up: one host is enough."""
        return len(self.unreached) < self.asked


class Rounds:
    """The last rounds, and what they say of a stretch of time. Pure."""

    def __init__(self) -> None:
        self._rounds: deque[Round] = deque(maxlen=ROUNDS)

    def add(self, seen: Round) -> None:
        """Take note of a round, later than all before."""
        self._rounds.append(seen)

    def fresh(self, at: datetime) -> bool:
        """Whether the last round still holds at a moment."""
        return bool(self._rounds) and at < self._rounds[-1].began + FRESH

    def reachable(self, start: datetime, end: datetime) -> bool:
        """Whether our network was up all the time from `start` to `end`.

        A round without success puts in doubt everything from the last success before it to the next one after it and
        its aftermath, since nobody knows when in between the network went and came back.
        """
        went: datetime | None = None  # the last success before the outage, while there is one
        before = datetime.min.replace(tzinfo=start.tzinfo)
        for seen in self._rounds:
            if not seen.reachable and went is None:
                went = before
            elif seen.reachable:
                if went is not None and start < seen.began + AFTERMATH and went < end:
                    return False
                went, before = None, seen.began
        return went is None or went >= end

    def outages(self, since: datetime) -> int:
        """How often the network went away since a moment."""
        up = [True, *(seen.reachable for seen in self._rounds)]
        return sum(
            was and not seen.reachable and seen.began >= since for was, seen in zip(up, self._rounds, strict=False)
        )


class SelfCheck:
    """Looks whether our own network is up. `run` is its task; the pipeline asks `fair` before it judges."""

    def __init__(self, reach: Sequence[str], kit: Kit) -> None:
        self._reach = {place: _endpoint(place) for place in reach}
        self._kit = kit
        self._rounds = Rounds()
        self._one_at_a_time = asyncio.Lock()
        self._looking = True

    async def run(self, accept: Callable[[Result], Awaitable[None]]) -> None:
        """Look again and again, and hand in what it says of ourselves. Ends at once without anything to reach."""
        while self._reach and self._looking:
            async with self._one_at_a_time:
                seen = await self._look()
            await accept(verdict(seen, self._rounds.outages(seen.began - FLAPPING)))
            await self._kit.clock.sleep(REACH_INTERVAL)

    async def fair(self, results: Sequence[Result]) -> Sequence[Result]:
        """Results as they are to be judged. Looks anew, for `REACH_TIMEOUT` at most, when the last round is too old for them."""
        if not self._reach:
            return results
        ends = [_end(result) for result in results if result.watch != WATCH and _suspicious(result)]
        if not ends:
            return results
        if self._looking:
            async with self._one_at_a_time:
                if not self._rounds.fresh(max(ends)):
                    await self._look()
        return [self._judged(result) for result in results]

    def stop(self) -> None:
        """Look no more, and judge by what was seen: a stop has no time to wait for a network that is down."""
        self._looking = False

    def _judged(self, result: Result) -> Result:
        if result.watch == WATCH:
            return result
        return excuse(result, reachable=self._rounds.reachable(result.started_at, _end(result)))

    async def _look(self) -> Round:
        began = self._kit.clock.now()
        places = self._reach.items()
        why = await asyncio.gather(*(self._why_not(endpoint) for _, endpoint in places))
        unreached = {place: said for (place, _), said in zip(places, why, strict=True) if said}
        seen = Round(began=began, asked=len(self._reach), unreached=unreached)
        self._rounds.add(seen)
        return seen

    async def _why_not(self, endpoint: Endpoint) -> str:
        """Why an endpoint can not be reached; empty when it can, or when that can not be told."""
        trace = Trace(self._kit.clock, Redactor())
        try:
            async with asyncio.timeout(REACH_TIMEOUT):
                connected = await connect(endpoint, self._kit.resolver, trace, Protocol.SMTP)
        except TimeoutError:
            return f"no answer within {REACH_TIMEOUT:g} s"
        except Failure as failure:
            answered = failure.evidence.kind in _ANSWERED or not network_like(failure.evidence)
            return "" if answered else failure.evidence.text
        connected.close()
        return ""


def verdict(seen: Round, outages: int) -> Result:
    """What a round says of ourselves, as a result of the watch `WATCH`. `outages`: how many there were in `FLAPPING`."""
    text = ""
    if not seen.reachable:
        text = "; ".join(f"{place}: {why}" for place, why in seen.unreached.items())
    elif outages > 1:
        text = f"our network went away {outages} times in {FLAPPING.total_seconds() / 60:g} minutes"
    return Result(
        run_id=f"{int(seen.began.timestamp() * 1e6):016x}",
        watch=WATCH,
        check=NETWORK,
        started_at=seen.began,
        seconds=0.0,
        phases=(),
        findings=(_finding(text),) if text else (),
    )


def _finding(text: str) -> Finding:
    evidence = Evidence(
        protocol=Protocol.SMTP,
        phase=Phase.CONNECT,
        kind=Kind.OBSERVED,
        code="network_down",
        text=Redactor()(text),
    )
    return Finding(cause=CAUSE, level=table()[CAUSE].level, subject=OURSELVES, evidence=evidence)


def _suspicious(result: Result) -> bool:
    return any(network_like(finding.evidence) for finding in result.findings)


def _end(result: Result) -> datetime:
    return result.started_at + timedelta(seconds=result.seconds)


def _endpoint(place: str) -> Endpoint:
    host, _, port = place.rpartition(":")
    return Endpoint(host=host.strip("[]"), port=int(port))
