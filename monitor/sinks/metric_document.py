"""The document of the metrics, written from their table: `python -m monitor.sinks.metric_document > docs/metrics.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from monitor.sinks.metric_table import TABLE, Metric, Per, samples, samples_per

_ABOUT = """\
# Metrics

`/metrics` speaks Prometheus' text format 0.0.4 and OpenMetrics 1.0.0. This page is written from
`monitor/sinks/metric_table.py`; do not edit it.

- A counter shows 0 from the start, so that `rate` and `increase` see its first event. Where the column *appears* is not
  empty, the series comes later: alert on `mailcanary_run_failures_total`, and look at `mailcanary_findings_total` for why.
- Whatever leaves the configuration takes its series along at the reload; what stays keeps its values. Counters start again
  at 0 with the process, as Prometheus expects; the incidents that are open are known again after a restart.
- Beside these there are the `process_…` metrics of Prometheus' client library (CPU, memory, open files, start time), on
  Linux.

## Labels

| label | value |
| --- | --- |
| `check` | the name of a check: `token`, `smtp_auth`, `canary` |
| `tenant`, `app` | the names that the configuration gives them |
| `credential` | the place of the credential in its app, such as `current` |
| `mailbox` | the mailbox's id in the configuration, never its address; empty for a watch that is aimed at a credential |
| `phase` | the step of a run, from a closed list |
| `cause` | the id of a row in the table of causes |
| `channel` | the name of a way to reach people |
| `severity`, `reason` | closed lists: of incidents, and of why a run did not happen |
"""

_TITLES = {
    Per.WATCH: "For each watch",
    Per.APP: "For each app and check",
    Per.CREDENTIAL: "For each credential",
    Per.ENDPOINT: "For each way to an endpoint",
    Per.CANARY: "For each mailbox that sends canaries",
    Per.DELIVERY: "For each app whose canaries are looked for",
    Per.TENANT: "For each tenant and check",
    Per.CHECK: "For each check",
    Per.CHANNEL: "For each channel",
    Per.DAEMON: "For the daemon itself",
}

# What an owner has in metrics whose number of series is not known beforehand.
_ON_TOP = {
    "mailcanary_last_run_phase_duration_seconds": "1 for each phase of the last run",
    "mailcanary_watch_failing": "1 while it fails",
    "mailcanary_findings_total": "1 for each pair of phase and cause that was found since the start",
    "mailcanary_phase_duration_seconds": "{samples} for each phase that was reached since the start",
}

_EXAMPLE_PHASES = 10
_EXAMPLE_CHECKS = 2


def document() -> str:
    """The whole page, in Markdown."""
    return "\n".join([_ABOUT, *_chapters(), *_cardinality()])


def _chapters() -> Iterator[str]:
    for per, title in _TITLES.items():
        yield f"## {title}\n"
        yield from _rows(
            ("name", "type", "labels", "meaning", "appears", "since"),
            (_row(metric) for metric in TABLE if metric.per is per),
        )
        yield ""


def _row(metric: Metric) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"`{metric.name}`", metric.kind, labels, metric.help, metric.appears, metric.since


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        yield "|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|"


def _cardinality() -> Iterator[str]:
    yield "## How many samples\n"
    yield "The sum over this table; a test counts them. No histogram is kept for a mailbox.\n"
    yield from _rows(("for each", "samples", "and on top"), (_cost(per, title) for per, title in _TITLES.items()))
    yield (
        f"\nFor one app with one credential and {_EXAMPLE_CHECKS} watches on each mailbox, one of them a canary, none failing,\n"
        f"{_EXAMPLE_PHASES} phases in a run, one channel, without the metrics of the process:\n"
    )
    yield from _rows(("mailboxes", "samples"), ((str(number), str(example(number))) for number in (1, 10, 100, 10_000)))
    yield ""


def _cost(per: Per, title: str) -> tuple[str, ...]:
    on_top = (
        _ON_TOP[metric.name].format(samples=metric.samples)
        for metric in TABLE
        if metric.per is per and not metric.countable
    )
    name = title.removeprefix("For each ").removeprefix("For ")
    return name, str(samples_per(per)), "; ".join(on_top)


def example(mailboxes: int) -> int:
    """The samples of the document's example: a token watch, and on each mailbox `smtp_auth` and `canary`."""
    watches = 1 + _EXAMPLE_CHECKS * mailboxes
    checks = 1 + _EXAMPLE_CHECKS
    owners = {
        Per.DAEMON: 1,
        Per.CHANNEL: 1,
        Per.CHECK: checks,
        Per.TENANT: checks,
        Per.CREDENTIAL: 1,
        Per.CANARY: mailboxes,
        Per.WATCH: watches,
    }
    phases = {
        "mailcanary_last_run_phase_duration_seconds": watches * _EXAMPLE_PHASES,
        "mailcanary_phase_duration_seconds": checks * _EXAMPLE_PHASES,
    }
    return samples(owners, phases)


if __name__ == "__main__":
    sys.stdout.write(document())
