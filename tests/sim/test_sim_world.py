"""The world: records under overlapping faults, and traffic over time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.sim import KINDS, contoso, make_client_certificate
from monitor.sim.contoso import BILLING_ID, TENANT_ID
from monitor.sim.fault_settings import AtPhase
from monitor.sim.records import Certificate, Mailbox, Throttle
from monitor.sim.traffic import ERRORS_TOO_MANY, ERRORS_WITHIN, THROTTLED_FOR, Traffic
from monitor.sim.world import Record, World
from tests.sim.sim_peer import BILLING, fixed_moment

DECLARED = contoso(hr_certificate=make_client_certificate("hr-portal"))
SUBJECTS = {"tenant": "contoso.example", "app": "billing-mailer", "mailbox": BILLING}
OF_RECORDS = sorted(name for name, kind in KINDS.items() if kind.subject != "server")


def new_world() -> World:
    """The default world at a fixed moment."""
    return World(
        tenants=DECLARED.tenants,
        apps=DECLARED.apps,
        mailboxes=DECLARED.mailboxes,
        now=fixed_moment,
        rng=Random(1),  # noqa: S311  reproducible
    )


def everything(world: World) -> list[Record]:
    """All records, as they are now."""
    return [record for sort in SUBJECTS for record in world.records(sort)]


@given(st.lists(st.sampled_from(OF_RECORDS), max_size=10), st.randoms(use_true_random=False))
def test_faults_can_be_repaired_in_any_order(names: list[str], chance: Random) -> None:
    """Whatever overlaps, repairing all gives back what was declared; each step equals a fresh injection."""
    world = new_world()
    before = everything(world)
    faults = [world.inject(name, SUBJECTS[KINDS[name].subject]) for name in names]
    while faults:
        world.repair(faults.pop(chance.randrange(len(faults))).id)
        fresh = new_world()
        for fault in faults:
            fresh.inject(fault.kind.name, fault.subject)
        assert everything(fresh) == everything(world)
    assert before == everything(world)


def test_a_record_declared_anew_keeps_its_faults() -> None:
    """An administrator's change and a fault of the same mailbox add up."""
    world = new_world()
    world.inject("mailbox_full", BILLING)
    world.declare(Mailbox(BILLING, TENANT_ID, restricted=True))
    found = world.mailbox(BILLING)
    assert found == Mailbox(BILLING, TENANT_ID, restricted=True, full=True)


def test_names_are_found_whatever_their_case() -> None:
    """Tenants, apps and mailboxes are known by each of their names, in any case."""
    world = new_world()
    tenant = world.tenant("CONTOSO.example")
    assert tenant == world.tenant(TENANT_ID.upper())
    assert tenant is not None
    assert world.app(tenant, BILLING_ID.upper()) == world.app(tenant, "billing-mailer")
    assert world.mailbox(BILLING.upper()) == world.mailbox(BILLING)


def test_an_app_is_known_in_its_own_tenant_only() -> None:
    """Another tenant does not know the app."""
    world = new_world()
    other = replace(DECLARED.tenants[0], id="22222222-0000-4000-8000-000000000000", domain="fabrikam.example")
    world.declare(other)
    assert world.app(other, BILLING_ID) is None


def test_a_repair_of_what_is_not_broken_is_an_error() -> None:
    """There is no silent repair."""
    with pytest.raises(KeyError):
        new_world().repair("f1")


def test_a_thousand_mailboxes_are_declared_at_once() -> None:
    """A large world is made of the same four mailboxes, the one at the partner's, and as many more as asked for."""
    declared = contoso(more_mailboxes=1000, hr_certificate=DECLARED.client_certificates["hr-portal"])
    assert 1005 == len({mailbox.address for mailbox in declared.mailboxes})


def test_every_phase_belongs_to_a_server() -> None:
    """No kind with a phase lacks a server to show it."""
    assert [] == [kind.name for kind in KINDS.values() if issubclass(kind.settings, AtPhase) and not kind.servers]


@given(st.lists(st.integers(0, 7200), min_size=1, max_size=60))
def test_errors_are_throttled_only_when_they_are_many_in_an_hour(seconds: list[int]) -> None:
    """The window slides: a mailbox is throttled when enough errors lie within it, and for a time only."""
    traffic = Traffic()
    moments = [fixed_moment() + timedelta(seconds=second) for second in sorted(seconds)]
    until = None
    for place, moment in enumerate(moments):
        traffic.failed(Throttle.MAILBOX_FULL, moment)
        first = place - ERRORS_TOO_MANY + 1
        if first >= 0 and moments[first] > moment - ERRORS_WITHIN:
            until = moment + THROTTLED_FOR
    last = moments[-1]
    expected = Throttle.MAILBOX_FULL if until is not None and until > last else None
    assert expected == traffic.throttle(last)
    assert traffic.throttle(last + THROTTLED_FOR) is None


def test_recipients_are_forgotten_after_a_day() -> None:
    """The budget of recipients slides over 24 hours."""
    traffic = Traffic()
    start = fixed_moment()
    traffic.recipients.append((start, 3))
    traffic.recipients.append((start + timedelta(hours=12), 4))
    counts = [traffic.recipients_today(start + timedelta(hours=hours)) for hours in (12, 24, 36)]
    assert [7, 4, 0] == counts


def test_only_rsa_certificates_can_be_registered() -> None:
    """What Entra ID could not verify is refused when it is declared."""
    pem = EC_CERTIFICATE
    with pytest.raises(TypeError, match="RSA"):
        Certificate.from_pem(pem)


def _ec_certificate() -> bytes:
    import trustme

    return bytes(trustme.CA().cert_pem.bytes())


EC_CERTIFICATE = _ec_certificate()
