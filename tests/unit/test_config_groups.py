"""What holds for many: defaults, importances and groups, and whose word goes before whose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checks.registry import CHECKS
from monitor.config import ConfigurationError, load
from monitor.model import Importance
from monitor.plan import Plan, plan_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = """\
tenants: {{contoso: {{tenant_id: contoso.example}}}}
apps:
  mailer: {{tenant: contoso, client_id: 3fd2b7a9-0000-4000-8000-000000000001, credential: {{secret: env:NOT_READ}}}}
inboxes: {{outside: {{address: canary@partner.example}}}}
mailboxes:
  box: {{address: box@contoso.example, app: mailer, {mailbox}}}
groups:
  payroll: {{{group}}}
defaults:
  checks: {{{defaults}}}
  importance: {{critical: {{checks: {{{importance}}}}}}}
"""


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., Plan]:
    """The plan of one mailbox in the group `payroll`, of which this is said here and there."""

    def made(*, mailbox: str = "group: payroll", group: str = "", defaults: str = "", importance: str = "") -> Plan:
        file = tmp_path / "c.yaml"
        file.write_text(FILE.format(mailbox=mailbox, group=group, defaults=defaults, importance=importance))
        return plan_of(load(file, CHECKS, secrets=False))

    return made


def test_the_nearest_word_holds(planned: Callable[..., Plan]) -> None:
    """Mailbox before group before importance before defaults before the check, key by key."""
    said = {
        "defaults": "smtp_auth: {interval: 10m, timeout: 50s}",
        "importance": "smtp_auth: {interval: 8m, timeout: 40s}",
        "group": "importance: critical, checks: {smtp_auth: {interval: 6m}}",
        "mailbox": "group: payroll, checks: {smtp_auth: {interval: 4m}}",
    }
    times = []
    for count in range(len(said) + 1):
        here = dict([*said.items()][:count])
        if count == 2:  # an importance needs somebody of it
            here["group"] = "importance: critical"
        watch = planned(**here).watches["smtp_auth/box"]
        times.append((watch.interval, watch.timeout))
    assert [(300.0, 30.0), (600.0, 50.0), (480.0, 40.0), (360.0, 40.0), (240.0, 40.0)] == times


@pytest.mark.parametrize(
    ("mailbox", "group", "expected"),
    [
        ("", "importance: critical", Importance.NORMAL),
        ("group: payroll", "", Importance.NORMAL),
        ("group: payroll", "importance: critical", Importance.CRITICAL),
        ("group: payroll, importance: normal", "importance: critical", Importance.NORMAL),
    ],
)
def test_a_mailbox_is_worth_what_it_says_or_its_group(
    planned: Callable[..., Plan], mailbox: str, group: str, expected: Importance
) -> None:
    """Without a word of either it is normal; the group's interval is that of its importance."""
    watch = planned(mailbox=mailbox, group=group, importance="smtp_auth: {interval: 1m}").watches["smtp_auth/box"]
    assert (expected, 60.0 if expected is Importance.CRITICAL else 300.0) == (watch.importance, watch.interval)


@pytest.mark.parametrize(
    ("mailbox", "group", "expected"),
    [
        ("group: payroll", "", {"smtp_auth"}),
        ("group: payroll", "checks: {canary: {}}", {"smtp_auth", "canary"}),
        ("group: payroll, checks: {canary: false}", "checks: {canary: {}}", {"smtp_auth"}),
        ("group: payroll", "checks: {smtp_auth: false}", set()),
        ("group: payroll, checks: {smtp_auth: {}}", "checks: {smtp_auth: false}", {"smtp_auth"}),
        ("", "checks: {smtp_auth: false}", {"smtp_auth"}),
    ],
)
def test_groups_and_mailboxes_switch_checks(
    planned: Callable[..., Plan], mailbox: str, group: str, expected: set[str]
) -> None:
    """The nearest of the two has the word; defaults and importances only say how a check runs."""
    hows = "canary: {to: [outside]}, imap_auth: {interval: 1h}"
    plan = planned(mailbox=mailbox, group=group, defaults=hows, importance="pop_auth: {interval: 1h}")
    assert expected == {watch.check for watch in plan.watches.values() if watch.target.own_scope == "mailbox"}
    for watch in plan.watches.values():
        if watch.check == "canary":
            assert ["outside"] == [inbox.id for inbox in watch.settings.to]  # type: ignore[attr-defined]


def test_labels_are_joined(planned: Callable[..., Plan]) -> None:
    """A mailbox has its group's labels and its own, which go before."""
    plan = planned(
        mailbox='group: payroll, labels: {floor: "3", room: "7"}', group="labels: {site: berlin, floor: '1'}"
    )
    assert {"site": "berlin", "floor": "3", "room": "7"} == plan.watches["smtp_auth/box"].labels
    assert {"site": "berlin"} == planned(group="labels: {site: berlin}").watches["smtp_auth/box"].labels


def test_a_mistake_of_a_default_is_told_once(planned: Callable[..., Plan]) -> None:
    """In its own place, whoever follows it; the same goes for what is only wrong together."""
    with pytest.raises(ConfigurationError) as caught:
        planned(group="importance: critical, checks: {smtp_auth: {timeout: 2h}}", importance="smtp_auth: {timeout: 0s}")
    paths = [problem.path for problem in caught.value.problems]
    assert ["groups.payroll.checks.smtp_auth.timeout", "defaults.importance.critical.checks.smtp_auth.timeout"] == paths
