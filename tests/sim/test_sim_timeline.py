"""The time line of faults: how it is read, and how it is played on a clock that nobody waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.sim import Fault, Happening, Step, TimelineError, contoso, make_client_certificate, play, read_timeline
from monitor.sim.world import World
from tests.sim.sim_peer import BILLING, fixed_moment

if TYPE_CHECKING:
    from collections.abc import Mapping

CERTIFICATE = make_client_certificate("hr-portal")

DEMO = """
- at: 5s
  fault: secret_expired
  subject: billing-mailer
  repair_at: 20s
- {at: 10s, fault: smtp_reply, subject: smtp, phase: auth, reply: "451 4.7.0 Not now", repair_at: 0.5m}
- {at: 1500ms, fault: refused, subject: entra}
"""


@dataclass
class Bench:
    """A world, and a clock that moves only when it is slept on."""

    now_s: float = 1000.0
    world: World = field(
        default_factory=lambda: World(
            tenants=contoso(hr_certificate=CERTIFICATE).tenants,
            apps=contoso(hr_certificate=CERTIFICATE).apps,
            mailboxes=contoso(hr_certificate=CERTIFICATE).mailboxes,
            now=fixed_moment,
            rng=Random(1),  # noqa: S311  reproducible
        )
    )
    told: list[tuple[float, str, str]] = field(default_factory=list)
    injecting_takes_s: float = 0.0

    async def inject(self, name: object, subject: object, settings: Mapping[str, object] | None = None) -> Fault:
        """As the office does it, and it takes a while."""
        self.now_s += self.injecting_takes_s
        return self.world.inject(name, subject, settings)

    async def repair(self, fault_id: str) -> Fault:
        """As the office does it."""
        return self.world.repair(fault_id)

    def clock(self) -> float:
        """The time."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds

    def tell(self, happening: Happening) -> None:
        """Note the clock beside what happened."""
        self.told.append((self.now_s - 1000.0, happening.what, happening.fault.kind.name))

    async def play(self, steps: tuple[Step, ...], scale: float = 1.0) -> None:
        """Play to the end."""
        await play(steps, self, clock=self.clock, sleep=self.sleep, tell=self.tell, scale=scale)


def test_a_time_line_is_read_from_yaml() -> None:
    """Durations become seconds, and what is not a time, a fault or a subject is a setting."""
    expected = (
        Step(5.0, 20.0, "secret_expired", "billing-mailer", {}),
        Step(10.0, 30.0, "smtp_reply", "smtp", {"phase": "auth", "reply": "451 4.7.0 Not now"}),
        Step(1.5, None, "refused", "entra", {}),
    )
    assert expected == read_timeline(DEMO, Bench().world)


async def test_faults_come_and_go_at_their_time() -> None:
    """Injections and repairs are told in the order of their moments; what has no repair stays."""
    bench = Bench()
    await bench.play(read_timeline(DEMO, Bench().world))
    expected = [
        (1.5, "injected", "refused"),
        (5.0, "injected", "secret_expired"),
        (10.0, "injected", "smtp_reply"),
        (20.0, "repaired", "secret_expired"),
        (30.0, "repaired", "smtp_reply"),
    ]
    assert expected == bench.told
    assert ["refused"] == [fault.kind.name for fault in bench.world.faults.values()]


async def test_a_scale_squeezes_the_time_line() -> None:
    """A tenth of the time, the same order."""
    bench = Bench()
    await bench.play(read_timeline(DEMO, Bench().world), scale=0.1)
    assert [0.15, 0.5, 1.0, 2.0, 3.0] == [round(at, 6) for at, _, _ in bench.told]


async def test_lateness_does_not_add_up() -> None:
    """Slow injections delay nothing but themselves."""
    bench = Bench(injecting_takes_s=0.4)
    await bench.play(read_timeline(DEMO, Bench().world))
    assert [1.9, 5.4, 10.4, 20.0, 30.0] == [round(at, 6) for at, _, _ in bench.told]


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0.1, 100), st.sampled_from(["mailbox_full", "sender_restricted"])),
        max_size=8,
    )
)
async def test_whatever_is_repaired_leaves_no_trace(plan: list[tuple[float, float, str]]) -> None:
    """However faults overlap, the world is as declared when all are repaired."""
    bench = Bench()
    before = bench.world.mailbox(BILLING)
    await bench.play(tuple(Step(at, at + lasts, fault, BILLING) for at, lasts, fault in plan))
    assert before == bench.world.mailbox(BILLING)
    assert 2 * len(plan) == len(bench.told)
    assert sorted(at for at, _, _ in bench.told) == [at for at, _, _ in bench.told]


async def test_a_fault_that_somebody_else_repaired_is_passed_over() -> None:
    """A reset in the middle does not end the time line."""
    bench = Bench()
    plan = (Step(1.0, 3.0, "mailbox_full", BILLING), Step(2.0, 4.0, "sender_restricted", BILLING))

    def reset_at_2(happening: Happening) -> None:
        bench.tell(happening)
        if happening.at_s == 2.0:
            bench.world.repair("f1")

    await play(plan, bench, clock=bench.clock, sleep=bench.sleep, tell=reset_at_2)
    expected = [
        (1.0, "injected", "mailbox_full"),
        (2.0, "injected", "sender_restricted"),
        (4.0, "repaired", "sender_restricted"),
    ]
    assert expected == bench.told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not YAML: "),
        ("at: 5s", "expected a list of steps"),
        ("- 5s", "step 1: expected a mapping with at, fault and subject"),
        ("- {fault: refused, subject: smtp}", "step 1: at: missing"),
        ("- {at: 5s, subject: smtp}", "step 1: fault: missing"),
        ("- {at: 5s, fault: refused}", "step 1: subject: missing"),
        (
            "- {at: 5, fault: refused, subject: smtp}",
            "step 1: at: expected a duration such as 500ms, 5s, 2m or 1h, got 5",
        ),
        ("- {at: soon, fault: refused, subject: smtp}", "step 1: at: expected a duration"),
        ("- {at: 5s, fault: refused, subject: 7}", "step 1: refused: subject: expected the name of a server, got 7"),
        ("- {at: 5s, fault: volcano, subject: smtp}", "step 1: unknown fault 'volcano'"),
        ("- {at: 5s, fault: refused, subject: ftp}", "step 1: refused: subject: 'ftp' is none of smtp, entra"),
        ("- {at: 5s, fault: silent, subject: smtp}", "step 1: silent: phase: Field required"),
        ("- {at: 5s, fault: mailbox_full, subject: x@y}", "step 1: mailbox_full: subject: there is no mailbox 'x@y'"),
        ("- {at: 5s, fault: refused, subject: smtp, repair_at: 5s}", "step 1: repair_at: expected a time after at"),
        ("- {at: 5s}\n- {fault: 1}", "step 1: fault: missing\nstep 2: at: missing"),
    ],
)
def test_a_wrong_time_line_is_refused_with_every_mistake(text: str, message: str) -> None:
    """Each mistake names its step and its key."""
    with pytest.raises(TimelineError) as refused:
        read_timeline(text, Bench().world)
    assert str(refused.value).startswith(message)
