"""Overview: whether mail flows, what is broken, why and since when, how fast it goes, and whether mailcanary is well."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from grafana.frame import framed
from grafana.panels import (
    BAD,
    GOOD,
    WORSE,
    Column,
    Panel,
    Query,
    Values,
    Word,
    bars,
    lines,
    number,
    rows,
    states,
)
from grafana.promql import ZERO, age, gauge, in_range, once_above, per_minute, quantile

HOUR = 3600.0
SELDOM = "10m"  # a credential is asked for a token every ten minutes unless the configuration says otherwise

NO_TROUBLE = Values(unit="short", first=GOOD, steps=[(1, BAD)])
PAUSE = Values(unit="s", first=GOOD, steps=[(HOUR, WORSE), (4 * HOUR, BAD)], none="never")
PER_MINUTE = Values(unit="cpm")
LATENCY = Values(unit="s")
STATE = Values(unit="short", words={"0": Word("suspect", WORSE), "1": Word("broken", BAD)})
STATE_OVER_TIME = Values(unit="short", words={"0": Word("ok", GOOD), "1": Word("broken", BAD)}, none="nothing broke")
LAST_SUCCESS = Values(unit="dateTimeFromNow", words={"0": Word("never", BAD)})

Panels = Iterator[Builder[model.Panel]]

WATCH = ("check", "tenant", "app", "credential", "mailbox", "inbox", "endpoint")


def dashboard() -> model.Dashboard:
    """The whole dashboard, from the question that is asked first to the one that is asked last."""
    return framed(
        "overview",
        "Overview",
        "Whether mail flows through Microsoft 365, what is broken, why and since when.",
        {
            "Is mail flowing?": _flowing(),
            "What is broken, why, since when?": _broken(),
            "Runs and failures": _runs(),
            "How fast?": _latency(),
            "mailcanary itself": _itself(),
        },
    )


def _flowing() -> Panels:
    yield number(
        Panel(
            title="Watches broken",
            about="Watches (one check on one target) that failed often enough in a row to count as broken. 0 is good.",
            width=4,
            height=5,
            values=NO_TROUBLE,
        ),
        Query(gauge("watch_firing").sum(), "broken"),
    )
    yield number(
        Panel(
            title="Last runs that passed",
            about="The share of watches whose last run passed. It falls at the first failure, before a watch is broken.",
            width=4,
            height=5,
            values=Values(unit="percentunit", first=BAD, steps=[(0.9, WORSE), (1, GOOD)]),
        ),
        Query(gauge("last_run_success").mean(), "passed"),
    )
    yield number(
        Panel(
            title="Incidents open",
            about="One incident for each cause and what it reaches, however many mailboxes. The variables for tenant and "
            "app do not narrow it: incidents may reach over both.",
            width=4,
            height=5,
            values=NO_TROUBLE,
        ),
        Query(gauge("incidents_open").sum("severity"), "{{severity}}"),
    )
    yield number(
        Panel(
            title="Canaries accepted",
            about="Marked messages that the mail server took, to the end of DATA, in the range on the screen. Prometheus "
            "estimates what happened at the edges of the range.",
            width=4,
            height=5,
            values=Values(unit="short", first=BAD, steps=[(1, GOOD)], none="no canaries"),
        ),
        Query(in_range("canaries_sent_total").sum(), "accepted"),
    )
    yield number(
        Panel(
            title="Longest without a success",
            about="How long ago the watch that waits longest for a success had its last one. Orange from an hour on: twice "
            "the half hour between two canaries, if the configuration says nothing else. A watch that never passed is "
            "not counted here; it is shown below once it fails.",
            width=4,
            height=5,
            values=PAUSE,
        ),
        Query(age("last_success_timestamp_seconds").max(), "longest"),
    )
    yield number(
        Panel(
            title="Daemons seen",
            about="Daemons that Prometheus reaches. At 0 nobody watches, and every other panel shows the past or nothing.",
            width=4,
            height=5,
            values=Values(unit="short", first=BAD, steps=[(1, GOOD)]),
        ),
        Query(gauge("build_info").sum().otherwise(ZERO), "daemons"),
    )


def _broken() -> Panels:
    failing = gauge("watch_failing").max(*WATCH, "phase", "cause")
    last_success = gauge("last_success_timestamp_seconds").max(*WATCH)
    yield rows(
        Panel(
            title="What is broken",
            about="Every watch with something wrong: the phase in which it failed, the cause, and when it last passed. "
            "Suspect: it failed, but not often enough in a row to count as broken. The alert of the incident, and "
            "`mailcanary check` for the mailbox, say whose move it is and what to do.",
            width=24,
            height=8,
            values=Values(unit="short", none="Nothing is broken."),
        ),
        ("cause", "phase", "mailbox", "inbox", "endpoint", "app", "tenant", "check", "credential"),
        Column("State", failing.with_value_of(gauge("watch_firing").max(*WATCH)), STATE),
        Column(
            "Last success",
            failing.with_value_of(last_success).times(1000).otherwise(failing.times(0)),
            LAST_SUCCESS,
        ),
    )
    yield states(
        Panel(
            title="Broken since",
            about="The watches that were broken at some time in the range on the screen: red while they were.",
            width=12,
            height=8,
            values=STATE_OVER_TIME,
        ),
        Query(once_above(0, "watch_firing").max(*WATCH), "{{check}} {{app}} {{mailbox}}{{inbox}}{{endpoint}}"),
    )
    yield lines(
        Panel(
            title="Watches failing, by phase and cause",
            about="How many watches have a cause, suspect ones included, and the phase in which it shows.",
            width=12,
            height=8,
            values=Values(unit="short", none="nothing failed"),
        ),
        Query(gauge("watch_failing").sum("phase", "cause"), "{{phase}}: {{cause}}"),
    )


def _runs() -> Panels:
    yield lines(
        Panel(
            title="Runs",
            about="Runs that ended in a minute, however they ended, by check.",
            width=8,
            height=8,
            values=PER_MINUTE,
        ),
        Query(per_minute("runs_total").sum("check"), "{{check}}"),
        window=SELDOM,
    )
    yield lines(
        Panel(
            title="Runs that failed",
            about="Runs whose outcome was fail, in a minute, by check.",
            width=8,
            height=8,
            values=PER_MINUTE,
        ),
        Query(per_minute("run_failures_total").sum("check"), "{{check}}"),
        window=SELDOM,
    )
    yield bars(
        Panel(
            title="Findings, by phase and cause",
            about="What runs found in the range on the screen, at any level. The series of a finding begins with its first "
            "one, so that Prometheus counts from the second one on.",
            width=8,
            height=8,
            values=Values(unit="short", first=WORSE, none="nothing found"),
        ),
        Query(in_range("findings_total").sum("phase", "cause"), "{{phase}}: {{cause}}"),
    )


def _latency() -> Panels:
    for title, what, only in (
        ("Token", "Entra ID took for a token that no cache was asked for", {"check": "token", "phase": "token"}),
        ("AUTH", "AUTH XOAUTH2 took, from the command to the server's answer", {"phase": "auth"}),
    ):
        yield lines(
            Panel(
                title=title,
                about=f"How long {what}: half of them no longer than the median, 95 of 100 no longer than the other line.",
                width=8,
                height=8,
                values=LATENCY,
            ),
            Query(quantile(0.5, "phase_duration_seconds", "tenant", **only), "{{tenant}} median"),
            Query(quantile(0.95, "phase_duration_seconds", "tenant", **only), "{{tenant}} 95 %"),
            window=SELDOM,
        )
    yield lines(
        Panel(
            title="Whole runs",
            about="How long runs took from their first phase to their last; 95 of 100 took no longer.",
            width=8,
            height=8,
            values=LATENCY,
        ),
        Query(quantile(0.95, "run_duration_seconds", "check", "tenant"), "{{tenant}} {{check}}"),
        window=SELDOM,
    )


def _itself() -> Panels:
    yield number(
        Panel(
            title="Longest without a run",
            about="How long ago the watch that waits longest for a run had its last one. Orange from an hour on, which is "
            "two intervals of the rarest check if the configuration says nothing else; a watch that is backed off "
            "waits longer.",
            width=4,
            height=6,
            values=PAUSE,
        ),
        Query(age("last_run_timestamp_seconds").max(), "longest"),
    )
    yield number(
        Panel(
            title="Configuration",
            about="Whether the file was taken when a daemon last read it. A refused file leaves the older plan in force.",
            width=4,
            height=6,
            values=Values(unit="short", words={"0": Word("refused", BAD), "1": Word("in force", GOOD)}),
        ),
        Query(gauge("config_last_reload_successful").min(), "configuration"),
    )
    yield number(
        Panel(
            title="Trouble of its own",
            about="In the range on the screen: unforeseen exceptions (please report them), batches that the database did "
            "not take at once, notices that were given up, and log lines that nobody took. All should be 0.",
            width=4,
            height=6,
            values=NO_TROUBLE,
        ),
        Query(in_range("defects_total").sum(), "defects"),
        Query(in_range("store_commit_failures_total").sum(), "commits refused"),
        Query(in_range("notices_given_up_total").sum(), "notices given up"),
        Query(in_range("log_lines_lost_total").sum(), "log lines lost"),
    )
    yield lines(
        Panel(
            title="Notices",
            about="Notices that wait to be delivered, and attempts that failed in a minute, by channel. A line of waiting "
            "notices that does not come down means that nobody is told.",
            width=6,
            height=6,
            values=Values(unit="short"),
        ),
        Query(gauge("notices_waiting").sum(), "waiting"),
        Query(per_minute("notice_failures_total").sum("channel"), "{{channel}}: failures per minute"),
    )
    yield lines(
        Panel(
            title="Event loop and database",
            about="By how much the event loop was late, and how long the database took for a batch: 99 of 100 no more "
            "than this. From a second on, times that checks measure are not to be trusted.",
            width=6,
            height=6,
            values=Values(unit="s", first=GOOD, steps=[(1, BAD)]),
        ),
        Query(quantile(0.99, "loop_lag_seconds", "instance"), "{{instance}} loop lag"),
        Query(quantile(0.99, "store_commit_duration_seconds", "instance"), "{{instance}} commit"),
    )
