"""The ledger: every canary that was sent is delivered, late or lost, and only what was really looked for is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from checks.core.model import Fact, Folder, InboxRead, Level, Result, Sent, Sighting
from checks.core.target import Mailbox
from monitor.canaries.delivery import verdict
from monitor.canaries.ledger import MAX_EXPECTED, Ledger
from monitor.model import Canary, Fate, Lateness
from tests.unit.world import T0, mailbox

LATENESS = Lateness(late_after=300.0, lost_after=3600.0)
BILLING: Mailbox = mailbox("billing")


def ledger() -> Ledger:
    """One that expects canaries of billing in one inbox."""
    made = Ledger()
    made.follow({"inbox"}, {"billing"}, LATENESS)
    return made


def at(seconds: float) -> datetime:
    """So many seconds after the beginning."""
    return T0 + timedelta(seconds=seconds)


def run(seconds: float, *facts: Fact, took: float = 1.0) -> Result:
    """A run that began so many seconds after the beginning."""
    return Result(run_id="r", watch="w", check="c", started_at=at(seconds), seconds=took, phases=(), facts=tuple(facts))


def sent(name: str = "c1", seconds: float = 0.0, *inboxes: str) -> Result:
    """A run that sent a canary."""
    fact = Sent(
        canary_id=name, mailbox="billing", recipients=1, reply="OK", at=at(seconds), inboxes=inboxes or ("inbox",)
    )
    return run(seconds, fact)


def read(seconds: float, *seen: tuple[str, float], folder: Folder = Folder.INBOX) -> Result:
    """A run that read the inbox and saw canaries that had arrived at these moments."""
    facts = [Sighting(canary_id=name, inbox="inbox", folder=folder, arrived_at=at(when)) for name, when in seen]
    return run(seconds, *facts, InboxRead(inbox="inbox", removed=0))


def fates(changed: Iterable[Canary]) -> list[tuple[str, Fate]]:
    """What became of canaries."""
    return [(canary.id, canary.fate) for canary in changed]


def said(canary: Canary) -> tuple[str, Level] | None:
    """What a canary's fate says of its mailbox: the evidence's code and the level."""
    result = verdict(canary, BILLING, "delivery/billing", T0)
    if result is None:
        return None
    worst = result.worst
    return ("", Level.INFO) if worst is None else (str(worst.evidence.code), worst.level)


def test_a_canary_that_arrives_in_time_is_delivered() -> None:
    """It is told once, with what it took; a sighting that is repeated says nothing more."""
    books = ledger()
    assert [("c1", Fate.PENDING)] == fates(books.enter([sent()]))
    (arrived,) = books.enter([read(60, ("c1", 7))])
    assert (Fate.DELIVERED, 7.0) == (arrived.fate, arrived.delay)
    assert ("", Level.INFO) == said(arrived)
    assert () == books.enter([read(120, ("c1", 7))])
    assert () == books.expected


def test_what_nobody_looked_for_is_neither_late_nor_lost() -> None:
    """Hours after the deadlines a canary is pending, as long as no run began behind them that read the inbox."""
    books = ledger()
    books.enter([sent()])
    assert () == books.enter([read(299), run(9000, InboxRead(inbox="another", removed=0)), run(9000)])
    assert [("c1", Fate.LATE)] == fates(books.enter([read(301)]))
    assert () == books.enter([read(3600)])
    assert [("c1", Fate.LOST)] == fates(books.enter([read(3601)]))
    assert () == books.enter([read(9000)])


def test_a_run_that_began_before_the_deadline_decides_nothing() -> None:
    """However long it took: what came while it ran may have come behind its search."""
    books = ledger()
    books.enter([sent()])
    slow = Result(
        run_id="r",
        watch="w",
        check="c",
        started_at=at(299),
        seconds=100.0,
        phases=(),
        facts=(InboxRead(inbox="inbox", removed=0),),
    )
    assert () == books.enter([slow])


def test_what_was_told_late_is_told_once() -> None:
    """Late and then arrived says one thing; what arrives late without having been told says it on arrival."""
    books = ledger()
    books.enter([sent("told"), sent("untold")])
    late = {canary.id: canary for canary in books.enter([read(301, ("untold", 301))])}
    assert ("canary_late", Level.WARN) == said(late["told"]) == said(late["untold"])
    (arrived,) = books.enter([read(400, ("told", 390))])
    assert Fate.DELIVERED_LATE is arrived.fate
    assert said(arrived) is None


def test_a_canary_in_the_junk_folder_is_a_warning() -> None:
    """It arrived, but a person would not have found it."""
    books = ledger()
    books.enter([sent()])
    (arrived,) = books.enter([read(60, ("c1", 7), folder=Folder.JUNK)])
    assert (Fate.DELIVERED, ("canary_junked", Level.WARN)) == (arrived.fate, said(arrived))


def test_a_lost_canary_fails() -> None:
    """Its finding is about the mailbox that sent it."""
    books = ledger()
    books.enter([sent()])
    (lost,) = books.enter([read(3700)])
    assert ("canary_lost", Level.FAIL) == said(lost)
    result = verdict(lost, BILLING, "delivery/billing", T0)
    assert result is not None
    assert "mailbox billing" == str(result.findings[0].subject)


def test_a_clock_that_is_ahead_makes_nothing_late() -> None:
    """The receiving server says that it arrived in an hour; we saw it a minute after it was sent."""
    books = ledger()
    books.enter([sent()])
    (arrived,) = books.enter([read(60, ("c1", 3600))])
    assert (Fate.DELIVERED, 61.0) == (arrived.fate, arrived.delay)


def test_a_clock_that_is_behind_makes_no_negative_delay() -> None:
    """What arrived before it was sent took no time."""
    books = ledger()
    books.enter([sent()])
    (arrived,) = books.enter([read(60, ("c1", -90))])
    assert 0.0 == arrived.delay


def test_each_inbox_counts_for_itself() -> None:
    """One canary to two inboxes may arrive in one of them; an inbox that nobody reads expects nothing."""
    books = Ledger()
    books.follow({"inbox", "outside"}, {"billing"}, LATENESS)
    assert 2 == len(books.enter([sent("c1", 0, "inbox", "outside", "unread")]))
    books.enter([read(60, ("c1", 5))])
    lost = books.enter([run(4000, InboxRead(inbox="outside", removed=0))])
    assert [("c1", "outside", Fate.LOST)] == [(canary.id, canary.inbox, canary.fate) for canary in lost]


def to_two(name: str) -> tuple[Ledger, list[Canary]]:
    """A ledger that expects one canary in two inboxes, one of which shows it after 5 s."""
    books = Ledger()
    books.follow({"inbox", "outside"}, {"billing"}, LATENESS)
    books.enter([sent(name, 0, "inbox", "outside")])
    return books, list(books.enter([read(60, (name, 5))]))


def outside(seconds: float, *seen: str, folder: Folder = Folder.INBOX) -> Result:
    """A run that read the other inbox and saw canaries that had arrived a second before."""
    facts = [Sighting(canary_id=name, inbox="outside", folder=folder, arrived_at=at(seconds - 1)) for name in seen]
    return run(seconds, *facts, InboxRead(inbox="outside", removed=0))


def test_all_is_well_with_a_canary_that_is_well_everywhere() -> None:
    """The last of its inboxes says so, once, also when both are read in one turn."""
    books, first = to_two("c1")
    last = books.enter([outside(61, "c1")])
    assert [False, True] == [canary.everywhere for canary in (*first, *last)]
    books.enter([sent("c2", 100, "inbox", "outside")])
    together = books.enter([read(160, ("c2", 105)), outside(161, "c2")])
    assert [False, True] == [canary.everywhere for canary in together]


def test_what_is_wrong_in_one_inbox_is_not_well_in_another() -> None:
    """Late, lost or in the junk folder of one: that it is well in the other one does not make it good."""
    books, _ = to_two("c1")
    late = books.enter([outside(301)])
    lost = books.enter([outside(3601)])
    assert [Fate.LATE, Fate.LOST] == [canary.fate for canary in (*late, *lost)]
    assert not any(canary.everywhere for canary in (*late, *lost))
    books.enter([sent("c2", 4000, "inbox", "outside")])
    books.enter([outside(4060, "c2", folder=Folder.JUNK)])
    (well,) = books.enter([read(4060, ("c2", 4005))])
    assert (Fate.DELIVERED, False) == (well.fate, well.everywhere)


def test_what_was_late_before_a_restart_is_not_well_after_it() -> None:
    """One inbox told it late in the earlier life, the other one shows it in this one."""
    books = Ledger()
    books.follow({"inbox", "outside"}, {"billing"}, LATENESS)
    books.enter([sent("c1", 0, "inbox", "outside"), outside(301)])
    again = Ledger()
    again.restore(books.expected)
    again.follow({"inbox", "outside"}, {"billing"}, LATENESS)
    (well,) = again.enter([read(310, ("c1", 5))])
    assert (Fate.DELIVERED, False) == (well.fate, well.everywhere)


def test_an_inbox_that_nobody_reads_fills_no_memory() -> None:
    """Beyond a bound the oldest of its canaries are forgotten, and seeing them later says nothing."""
    books = ledger()
    books.enter([sent(str(number), number) for number in range(MAX_EXPECTED)])
    changed = books.enter([sent("one more", MAX_EXPECTED)])
    assert [("0", Fate.FORGOTTEN), ("one more", Fate.PENDING)] == sorted(fates(changed))
    assert MAX_EXPECTED == len(books.expected)
    assert () == books.enter(
        [run(MAX_EXPECTED, Sighting(canary_id="0", inbox="inbox", folder=Folder.INBOX, arrived_at=T0))]
    )


def test_what_leaves_the_plan_is_forgotten() -> None:
    """Canaries of a mailbox or to an inbox that is gone are not lost: nobody asks any more."""
    for inboxes, mailboxes in (({"inbox"}, set[str]()), (set[str](), {"billing"})):
        books = ledger()
        books.enter([sent()])
        assert [("c1", Fate.FORGOTTEN)] == fates(books.follow(inboxes, mailboxes, LATENESS))
        assert () == books.expected
        assert () == books.enter([sent("c2"), read(9000)])


def test_a_restart_goes_on_where_it_stopped() -> None:
    """What was pending or late before is settled by the first read of the new life, and told no second time."""
    books = ledger()
    books.enter([sent("old"), sent("young", 3000), read(3400)])
    again = Ledger()
    again.restore(books.expected)
    again.follow({"inbox"}, {"billing"}, LATENESS)
    changed = again.enter([read(3700, ("young", 3005))])
    assert {"old": Fate.LOST, "young": Fate.DELIVERED_LATE} == dict(fates(changed))
    assert [None] == [said(canary) for canary in changed if canary.id == "young"]


events = st.lists(
    st.tuples(st.sampled_from(["send", "read", "see"]), st.integers(0, 4), st.floats(0, 900)), max_size=40
)


@given(events)
def test_everything_that_was_sent_is_settled_or_expected(history: list[tuple[str, int, float]]) -> None:
    """Whatever happens in whatever order: sent = delivered + lost + expected, and nothing is settled for good twice."""
    books = ledger()
    clock, known, ended = 0.0, set[str](), Counter[str]()
    for what, number, passed in history:
        clock += passed
        name = f"c{number}"
        if what == "send" and name not in known:
            known.add(name)
            changed = books.enter([sent(name, clock)])
        else:
            changed = books.enter([read(clock, *([(name, clock)] if what == "see" else []))])
        ended.update(canary.id for canary in changed if canary.fate not in {Fate.PENDING, Fate.LATE})
    assert all(count == 1 for count in ended.values())
    assert sorted(known) == sorted([*ended, *(canary.id for canary in books.expected)])
