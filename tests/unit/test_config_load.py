"""The configuration: a good file becomes domain objects; a wrong one is explained, all of it, with places."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checks.core.material import ClientSecret
from checks.core.secret import Secret
from checks.registry import CHECKS
from monitor.config import Configuration, ConfigurationError, load, model
from monitor.plan import plan_of

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = """\
tenants:
  contoso: {tenant_id: 11111111-2222-4333-8444-555555555555}
apps:
  billing-mailer:
    tenant: contoso
    client_id: 3fd2b7a9-0000-4000-8000-000000000001
    owner: {team: finance, contact: "#finance-it"}
    credential:
      secret: env:BILLING_SECRET
      expires: 2027-03-01
mailboxes:
  billing:
    address: billing@contoso.example
    app: billing-mailer
    importance: critical
    checks:
      smtp_auth: {interval: 5m, timeout: 20s}
      canary: {interval: 30m, to: [canary-inbox]}
  quiet:
    address: quiet@contoso.example
    app: billing-mailer
    checks: {smtp_auth: false}
inboxes:
  canary-inbox: {address: canary@contoso.example}
defaults:
  checks:
    token: {interval: 10m}
alerts:
  channels:
    chat: {url: env:CHAT_URL}
  policy: {fail_after: 3}
"""


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Configuration]:
    """Loads a text as a file called c.yaml, with both secrets set."""
    monkeypatch.setenv("BILLING_SECRET", "s3cret~value")
    monkeypatch.setenv("CHAT_URL", "json://127.0.0.1/planted-token")
    monkeypatch.chdir(tmp_path)

    def loaded(text: str) -> Configuration:
        Path("c.yaml").write_text(text)
        return load(Path("c.yaml"), CHECKS)

    return loaded


def problems(read: Callable[[str], Configuration], text: str) -> list[str]:
    """What is said of a wrong file."""
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def test_a_good_file_becomes_watches(read: Callable[[str], Configuration]) -> None:
    """Defaults are filled, a check can be switched off, and canaries run only where they are named."""
    configuration = read(GOOD)
    watches = plan_of(configuration).watches
    ways = {f"endpoint/smtp.office365.com:587/{family}" for family in ("ipv4", "ipv6")}
    assert {"token/billing-mailer/current", "smtp_auth/billing", "canary/billing", *ways} == set(watches)
    assert (300.0, 20.0) == (watches["smtp_auth/billing"].interval, watches["smtp_auth/billing"].timeout)
    assert "canary@contoso.example" == watches["canary/billing"].settings.to[0].address.reveal()
    assert "smtp.office365.com:587" == watches["canary/billing"].target.connects_to
    assert ClientSecret(Secret("s3cret~value")) == configuration.credentials["billing-mailer/current"].material
    assert 3 == configuration.policy.fail_after


def test_nothing_secret_shows_in_a_configuration(read: Callable[[str], Configuration]) -> None:
    """Printing the whole configuration shows neither secrets nor addresses."""
    shown = repr(read(GOOD))
    assert not [private for private in ("s3cret", "planted-token", "billing@", "canary@") if private in shown]


# What is wrong, what stands there in the good file, and what is said.
MISTAKES = [
    ("intervall: 5m", "interval: 5m", "c.yaml:17:19: mailboxes.billing.checks.smtp_auth.intervall: unknown key; known here: interval, timeout"),
    ("tennant: contoso", "tenant: contoso", "c.yaml:5:5: apps.billing-mailer.tennant: unknown key; did you mean tenant?"),
    ("interval: 5 minutes", "interval: 5m", "c.yaml:17:19: mailboxes.billing.checks.smtp_auth.interval: expected a duration such as 30s, 5m, 1h or 60d"),
    ("interval: soon", "interval: 30m", "c.yaml:18:16: mailboxes.billing.checks.canary.interval: expected a duration such as 30s, 5m, 1h or 60d"),
    ("tenant: fabrikam", "tenant: contoso", "c.yaml:5:5: apps.billing-mailer.tenant: there is no tenant 'fabrikam'; known: contoso"),
    ("to: [nowhere]", "to: [canary-inbox]", "c.yaml:18:31: mailboxes.billing.checks.canary.to: there is no inbox 'nowhere'; known: canary-inbox"),
    ("secret: env:UNSET", "secret: env:BILLING_SECRET", "c.yaml:9:7: apps.billing-mailer.credential.secret: env:UNSET: this environment variable is not set"),
    ("secret: cmd:true s3cret~value", "secret: env:BILLING_SECRET", "c.yaml:9:7: apps.billing-mailer.credential.secret: cmd: is empty"),
    ("secret: s3cret~value", "secret: env:BILLING_SECRET", "c.yaml:9:7: apps.billing-mailer.credential.secret: expected a reference: env:NAME, file:PATH or cmd:COMMAND; secrets do not stand in this file"),
    ("smpt_auth: false", "smtp_auth: false", "c.yaml:22:14: mailboxes.quiet.checks.smpt_auth: there is no check 'smpt_auth'; known: token, endpoint, smtp_auth, imap_auth, pop_auth, canary, inbox"),
    ("apps:\n  billing-mailer: {}\napps:", "apps:", "c.yaml:5:1: apps: this key stands here twice"),
    ("client_id: 42", "client_id: 3fd2b7a9-0000-4000-8000-000000000001", "c.yaml:6:5: apps.billing-mailer.client_id: expected the application (client) ID: a GUID of 36 characters"),
    ("expires: 2027-02-30", "expires: 2027-03-01", "c.yaml:10:16: apps.billing-mailer.credential.expires: there is no such date"),
    ("owner: {teem: finance", "owner: {team: finance", "c.yaml:7:13: apps.billing-mailer.owner.teem: unknown key; did you mean team?"),
    ("  123: {address: a@b.example, app: billing-mailer}\ninboxes:", "inboxes:", "c.yaml:23:3: mailboxes.123: YAML reads this key as a number: put it in quotes"),
    ("fail_after: often", "fail_after: 3", "c.yaml:31:12: alerts.policy.fail_after: expected a whole number"),
    ("to: [7]", "to: [canary-inbox]", "c.yaml:18:31: mailboxes.billing.checks.canary.to: there is no inbox '7'; known: canary-inbox"),
    ("token: 10m", "token: {interval: 10m}", "c.yaml:27:5: defaults.checks.token: expected keys such as {interval: 5m, timeout: 30s}"),
    ("address: nobody", "address: canary@contoso.example", "c.yaml:24:18: inboxes.canary-inbox.address: expected an address such as billing@contoso.com"),
]  # fmt: skip
# Two that are only wrong beside each other: which of them is meant, nobody knows while one is wrong in itself.
TOGETHER = [
    ("timeout: 6m", "timeout: 20s", "c.yaml:17:33: mailboxes.billing.checks.smtp_auth.timeout: 360 s is longer than the interval of 300 s"),
    ("canaries: {late_after: 2h}\ndefaults:", "defaults:", "c.yaml:25:1: canaries: expected lost_after (1h) to be no less than late_after (2h)"),
    ("interval: 10s", "interval: 5m", "c.yaml:17:34: mailboxes.billing.checks.smtp_auth.timeout: 20 s is longer than the interval of 10 s"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "right", "expected"), MISTAKES + TOGETHER)
def test_one_mistake_is_explained_with_its_place(
    read: Callable[[str], Configuration], wrong: str, right: str, expected: str
) -> None:
    """A mistake is named with file, line, column, path, and what was expected; a secret is never repeated."""
    assert right in GOOD
    assert expected in problems(read, GOOD.replace(right, wrong, 1))


def test_any_two_mistakes_are_told_at_once(read: Callable[[str], Configuration]) -> None:
    """Of whatever kind two mistakes are, one reading tells both, and nothing that would be gone without them."""

    def said(*wrong: tuple[str, str]) -> set[str]:
        text = GOOD
        for mistake, right in wrong:
            text = text.replace(right, mistake, 1)
        return {problem.split(": ", 1)[1] for problem in problems(read, text)}

    for (one, its_right, _), (other, others_right, _) in combinations(MISTAKES, 2):
        if its_right in GOOD.replace(others_right, other, 1) and others_right in GOOD.replace(its_right, one, 1):
            first, second = said((one, its_right)), said((other, others_right))
            assert first | second == said((one, its_right), (other, others_right))


def test_every_required_key_has_an_example_that_is_valid() -> None:
    """An example stands in for what is wrong, so that the rest is judged: it must not be wrong itself."""
    parts = [part for part in vars(model).values() if isinstance(part, type) and issubclass(part, model.Part)]
    assert len(parts) > 10
    for part in parts:
        required = {name: field for name, field in part.model_fields.items() if field.is_required()}
        part.model_validate({name: (field.examples or [None])[0] for name, field in required.items()})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "c.yaml: is empty: expected tenants, apps and mailboxes"),
        ("- a\n", "c.yaml:1:1: expected keys such as tenants, apps and mailboxes"),
        ("a: [1\n", "c.yaml:2:1: is not YAML: did not find expected ',' or ']'"),
        ("a: &x 1\nb: *x\n", "c.yaml:2:4: aliases (*name) are not allowed: write the values out, or use `defaults`"),
        ("{}", "c.yaml:1:1: apps: is missing"),
    ],
)
def test_what_is_no_configuration_is_said_so(read: Callable[[str], Configuration], text: str, expected: str) -> None:
    """Empty files, lists, broken YAML and alias bombs are explained, never a traceback."""
    assert expected in problems(read, text)


def test_all_aliases_and_tags_are_told_at_once(read: Callable[[str], Configuration]) -> None:
    """What YAML has and a configuration may not have is told in one go, each with its place."""
    said = problems(read, "a: &x 1\nb: *x\nc: !!python/name:os.system\nd: *x\n")
    assert ["c.yaml:2:4", "c.yaml:3:4", "c.yaml:4:4"] == [problem.split(": ")[0] for problem in said]


def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    """A missing file, a directory and bytes that are no text are explained."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name, expected in (("none", "no such file"), ("", "cannot be read"), ("bytes", "is not UTF-8")):
        with pytest.raises(ConfigurationError, match=expected):
            load(tmp_path / name, CHECKS)


def test_without_secrets_references_are_not_resolved(tmp_path: Path) -> None:
    """A checkout that has no secrets can still be validated."""
    (tmp_path / "c.yaml").write_text(GOOD)
    assert 2 == len(load(tmp_path / "c.yaml", CHECKS, secrets=False).mailboxes)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sqlite:///var/lib/mailcanary/state.db", "sqlite:////var/lib/mailcanary/state.db"),
        ("sqlite:////var/lib/mailcanary/state.db", "sqlite:////var/lib/mailcanary/state.db"),
        ("sqlite:state.db", "sqlite:///{here}/state.db"),
        ("sqlite:./data/state.db", "sqlite:///{here}/data/state.db"),
    ],
)
def test_three_slashes_are_the_root(read: Callable[[str], Configuration], written: str, meant: str) -> None:
    """A store's URL reads like any other; a path without slashes in front is beside the file, wherever we run."""
    here = Path.cwd()
    assert meant.format(here=here) == read(f"{GOOD}store: {written}\n").store_url


@pytest.mark.parametrize("written", ["sqlite://state.db", "sqlite:", "mysql://host/db", "state.db"])
def test_what_is_no_store_is_refused(read: Callable[[str], Configuration], written: str) -> None:
    """A host, nothing, another database, a bare path: errors of the file, and nothing is created."""
    (problem,) = problems(read, f"{GOOD}store: {written!r}\n")
    assert ": store: " in problem
    assert [Path("c.yaml")] == list(Path().iterdir())
