"""One turn's records written by bulk upserts, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, func
from sqlalchemy.dialects.sqlite import Insert, insert

from checks.core.model import Outcome, Result
from monitor.model import Canary, Incident, IncidentState, Notice, WatchState
from monitor.store.records import CANARY, INCIDENT, NOTICE, RESULT, STATE, Batch
from monitor.store.schema import canary, incident, last_run, notice, watch_state


def write(connection: Connection, batch: Batch, now: datetime) -> None:
    """Write a batch. `now` is when its notices were made."""
    _execute(connection, _PUT_STATE, _state_rows(batch.states))
    _execute(connection, _PUT_INCIDENT, _incident_rows(batch.incidents))
    _execute(connection, _PUT_NOTICE, [_notice_row(item, now) for item in batch.notices])
    _execute(connection, _PUT_CANARY, [_canary_row(item) for item in batch.canaries])
    _execute(connection, _PUT_RUN, [_run_row(result) for result in batch.results])


def _execute(connection: Connection, statement: Insert, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(statement, rows)


def _upsert(table: Table, *keys: str) -> Insert:
    put = insert(table)
    return put.on_conflict_do_update(
        index_elements=keys,
        set_={column.name: put.excluded[column.name] for column in table.columns if column.name not in keys},
    )


def _upsert_run() -> Insert:
    put = insert(last_run)
    new = put.excluded
    return put.on_conflict_do_update(
        index_elements=["watch"],
        set_={
            "started_at": new.started_at,
            "outcome": new.outcome,
            "seconds": new.seconds,
            "result": new.result,
            "failed": func.coalesce(new.failed, last_run.c.failed),
        },
    )


_PUT_STATE = _upsert(watch_state, "watch")
_PUT_INCIDENT = _upsert(incident, "id")
_PUT_NOTICE = insert(notice).on_conflict_do_nothing(index_elements=["id"])
_PUT_CANARY = _upsert(canary, "id", "inbox")
_PUT_RUN = _upsert_run()


def _state_rows(states: Iterable[WatchState]) -> list[dict[str, Any]]:
    last = {state.watch: state for state in states}
    return [{"watch": watch, "state": STATE.dump_json(state).decode()} for watch, state in last.items()]


def _incident_rows(incidents: Iterable[Incident]) -> list[dict[str, Any]]:
    last = {item.id: item for item in incidents}
    # Closed ones first: the key of an open incident must be free before the next one takes it.
    ordered = sorted(last.values(), key=lambda item: item.state is IncidentState.OPEN)
    return [
        {
            "id": item.id,
            "cause": item.cause,
            "scope": item.subject.scope.value,
            "scope_key": item.subject.key,
            "state": item.state.value,
            "opened_at": item.opened_at.timestamp(),
            "closed_at": item.closed_at.timestamp() if item.closed_at else None,
            "record": INCIDENT.dump_json(item).decode(),
        }
        for item in ordered
    ]


def _notice_row(item: Notice, now: datetime) -> dict[str, Any]:
    return {
        "id": item.id,
        "incident": item.incident.id,
        "channel": item.channel,
        "due_at": item.due_at.timestamp(),
        "attempts": item.attempts,
        "state": "pending",
        "created_at": now.timestamp(),
        "next_attempt_at": item.due_at.timestamp(),
        "error": "",
        "record": NOTICE.dump_json(item).decode(),
    }


def _canary_row(item: Canary) -> dict[str, Any]:
    return {
        "id": item.id,
        "inbox": item.inbox,
        "sent_at": item.sent_at.timestamp(),
        "fate": item.fate.value,
        "record": CANARY.dump_json(item).decode(),
    }


def _run_row(result: Result) -> dict[str, Any]:
    outcome = result.outcome
    record = RESULT.dump_json(result).decode()
    return {
        "watch": result.watch,
        "started_at": result.started_at.timestamp(),
        "outcome": outcome.value,
        "seconds": result.seconds,
        "result": record,
        "failed": record if outcome is Outcome.FAIL else None,
    }
