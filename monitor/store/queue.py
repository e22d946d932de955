"""The notices that wait for delivery, as a queue in the database: claimed, then settled or put back.

Of the notices about one incident by one channel only the oldest unsettled one can be claimed, so nobody reads that
something recovered before reading that it broke.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, select, true, update

from monitor.model import Notice
from monitor.store.records import NOTICE
from monitor.store.schema import notice

# A claim older than this belongs to a process that died: a living one settles it within the time limit of a send.
CLAIM_SECONDS = 120.0

_earlier = notice.alias("earlier")
_UNSETTLED = notice.c.state.in_(["pending", "claimed"])
# When a notice may be claimed: at its time, or once the claim of a process that died has run out.
_FREE_AT = case((notice.c.state == "claimed", notice.c.claimed_at + CLAIM_SECONDS), else_=notice.c.next_attempt_at)
_FIRST_IN_LINE = and_(
    _UNSETTLED,
    ~exists().where(
        _earlier.c.channel == notice.c.channel,
        _earlier.c.incident == notice.c.incident,
        _earlier.c.position < notice.c.position,
        _earlier.c.state.in_(["pending", "claimed"]),
    ),
)


def claim(connection: Connection, now: datetime, limit: int, channel: str | None) -> tuple[Notice, ...]:
    """Take up to `limit` notices that are due, oldest first; `attempts` of each counts this one already."""
    due = select(notice.c.position).where(_FIRST_IN_LINE, now.timestamp() >= _FREE_AT, _of(channel))
    due = due.order_by(notice.c.due_at, notice.c.position).limit(limit)
    taken = (
        update(notice)
        .where(notice.c.position.in_(due))
        .values(state="claimed", claimed_at=now.timestamp(), attempts=notice.c.attempts + 1)
        .returning(notice.c.due_at, notice.c.position, notice.c.attempts, notice.c.record)
    )
    rows = sorted(connection.execute(taken))
    return tuple(replace(NOTICE.validate_json(record), attempts=attempts) for _, _, attempts, record in rows)


def next_claim_at(connection: Connection, channel: str | None) -> float | None:
    """When the next notice can be claimed (seconds since 1970), or None when none is waiting."""
    found: float | None = connection.execute(select(func.min(_FREE_AT)).where(_FIRST_IN_LINE, _of(channel))).scalar()
    return found


def count_waiting(connection: Connection) -> int:
    """How many notices are neither delivered nor given up."""
    return connection.execute(select(func.count()).select_from(notice).where(_UNSETTLED)).scalar_one()


def settle(connection: Connection, item: Notice, state: str, at: datetime, error: str) -> None:
    """Mark a notice `delivered` or `given_up`."""
    changed = update(notice).where(notice.c.id == item.id, _UNSETTLED)
    connection.execute(changed.values(state=state, settled_at=at.timestamp(), claimed_at=None, error=error))


def put_back(connection: Connection, item: Notice, next_attempt_at: datetime, error: str) -> None:
    """Let a notice wait for its next attempt."""
    changed = update(notice).where(notice.c.id == item.id, _UNSETTLED)
    moment = next_attempt_at.timestamp()
    connection.execute(changed.values(state="pending", claimed_at=None, next_attempt_at=moment, error=error))


def _of(channel: str | None) -> ColumnElement[bool]:
    return true() if channel is None else notice.c.channel == channel
