"""`mailcanary init`: whatever is answered, the file is one that `validate` takes, and no secret was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.registry import CHECKS
from monitor.cli.init import NONE, QUESTIONS, text_of
from monitor.cli.main import cli
from monitor.config import load

if TYPE_CHECKING:
    from click.testing import Result

GOLDEN = Path(__file__).parents[1] / "golden" / "cli" / "init"
TENANT, CLIENT, MAILBOX = "fabrikam.example", "3fd2b7a9-0000-4000-8000-000000000001", "invoices@fabrikam.example"
FLAGS = ["--tenant", TENANT, "--client-id", CLIENT, "--mailbox", MAILBOX]
REFERENCES = st.builds(
    "{}:{}".format, st.sampled_from(["env", "file", "cmd"]), st.text(st.characters(codec="utf-8"), min_size=1)
)
ADDRESSES = st.builds("{}@{}".format, *[st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)] * 2)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def init(*arguments: str, said: str | None = None) -> Result:
    """Run the command, with these lines typed."""
    return CliRunner().invoke(cli, ["init", *arguments], input=said)


def validated(file: str = "mailcanary.yaml") -> Result:
    """What `validate` says of a file where no secret is at hand."""
    return CliRunner().invoke(cli, ["validate", "--without-secrets", file])


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("secret", [*FLAGS, "--secret", "env:APP_SECRET", "--channel", "env:CHAT_URL"]),
        ("certificate", [*FLAGS, "--certificate", "client.pfx", "--passphrase", "file:/run/secrets/pfx", "--channel", "none"]),
        ("examples", []),
    ],
)  # fmt: skip
def test_the_file_reads_as_agreed(name: str, flags: list[str]) -> None:
    """In the words of its golden file, and `validate` takes it."""
    done = init("--yes", *flags)
    assert 0 == done.exit_code
    assert (GOLDEN / f"{name}.yaml").read_text() == Path("mailcanary.yaml").read_text()
    still = "" if flags else "Still only an example: tenant, client id, mailbox.\n"
    assert f"Wrote mailcanary.yaml.\n{still}Next: mailcanary validate mailcanary.yaml\n" == done.stdout
    taken = validated()
    assert (0, "") == (taken.exit_code, taken.stderr)


def test_what_is_not_given_is_asked(tmp_path: Path) -> None:
    """Each question once; an empty line takes the default, and what was given is not asked."""
    done = init("new.yaml", "--client-id", CLIENT, said=f"{TENANT}\n\n{MAILBOX}\nnone\n")
    assert 0 == done.exit_code, done.output
    questions = [question.words for question in QUESTIONS.values() if question.words in done.stdout]
    assert [QUESTIONS[name].words for name in ("tenant", "secret", "mailbox", "channel")] == questions
    configuration = load(tmp_path / "new.yaml", CHECKS, secrets=False)
    assert (MAILBOX, ()) == (configuration.mailboxes["mailbox-1"].address.reveal(), configuration.channels)
    assert (TENANT, CLIENT) == ((app := configuration.apps["mailer"]).tenant.tenant_id, app.client_id)
    assert "secret: env:MAILCANARY_SECRET\n" in Path("new.yaml").read_text()


def test_a_certificate_is_asked_for_where_there_is_no_secret() -> None:
    """Its file and where its passphrase is; the file is not read."""
    done = init(*FLAGS, "--channel", "none", said="none\nbilling.pfx\nfile:/run/secrets/pfx\n")
    assert 0 == done.exit_code, done.output
    text = Path("mailcanary.yaml").read_text()
    assert "      certificate:\n        file: billing.pfx\n        passphrase: file:/run/secrets/pfx\n" in text
    assert 0 == validated().exit_code


def test_a_wrong_answer_is_asked_again() -> None:
    """With what was expected; what may be a secret goes nowhere, neither to the screen nor to the file."""
    lines = ["two words", TENANT, "42", CLIENT, "planted~Secret", "none", "planted~Secret", "a.pem", "planted", "none", "nobody", MAILBOX, "https://planted", "env:CHAT"]  # fmt: skip
    done = init(said="\n".join([*lines, ""]))
    assert 0 == done.exit_code, done.output
    errors = [line.partition("Error: ")[2] for line in done.output.splitlines() if "Error: " in line]
    expected = [
        "expected the tenant's GUID or one of its domains",
        "expected the application (client) ID",
        "expected a reference",
        "expected the name of a file that ends with .pem, .pfx or .p12",
        "expected a reference",
        "expected an address",
        "expected a reference",
    ]
    assert len(expected) == len(errors)
    assert all(error.startswith(words) for error, words in zip(errors, expected, strict=True))
    assert "planted" not in Path("mailcanary.yaml").read_text()
    assert 0 == validated().exit_code


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--secret", "planted~Secret"], "Invalid value for '--secret': expected a reference"),
        (["--passphrase", "planted"], "Invalid value for '--passphrase': expected a reference"),
        (["--certificate", "planted"], "Invalid value for '--certificate': expected the name of a file"),
        (["--tenant", "two words"], "Invalid value for '--tenant': expected the tenant's GUID"),
        (["--client-id", "42"], "Invalid value for '--client-id': expected the application (client) ID"),
        (["--mailbox", "nobody"], "Invalid value for '--mailbox': expected an address"),
        (["--channel", "json://planted"], "Invalid value for '--channel': expected a reference"),
        (["--secret", "env:A", "--certificate", "a.pem"], "with a secret or with a certificate, not with both"),
    ],
)
def test_a_wrong_option_is_a_usage_error(flags: list[str], said: str) -> None:
    """Status 2, what was expected, nothing private, and no file."""
    done = init("--yes", *flags)
    assert 2 == done.exit_code
    assert said in done.stderr
    assert "planted" not in done.output
    assert not Path("mailcanary.yaml").exists()


def test_nothing_is_overwritten_by_surprise() -> None:
    """A file that is there stays as it is, unless --force says otherwise."""
    Path("mailcanary.yaml").write_text("mine\n")
    done = init("--yes")
    assert (2, "") == (done.exit_code, done.stdout)
    assert "mailcanary.yaml: is there already; --force overwrites it\n" == done.stderr
    assert "mine\n" == Path("mailcanary.yaml").read_text()
    assert 0 == init("--yes", "--force").exit_code
    assert 0 == validated().exit_code


def test_a_place_that_cannot_be_written_is_said_so() -> None:
    """A folder that is not there: status 2 and the system's reason."""
    done = init("--yes", "none/mailcanary.yaml")
    assert 2 == done.exit_code
    assert "none/mailcanary.yaml: cannot be written: No such file or directory\n" == done.stderr


@settings(max_examples=200, deadline=None)
@given(
    tenant=st.from_regex(r"\A[A-Za-z0-9.-]{1,40}\Z"),
    client_id=st.from_regex(r"\A[0-9A-Fa-f-]{36}\Z"),
    secret=st.one_of(REFERENCES, st.just(NONE)),
    certificate=st.builds("{}.pem".format, st.text(st.characters(codec="utf-8"), min_size=1)),
    passphrase=st.one_of(REFERENCES, st.just(NONE)),
    mailbox=ADDRESSES,
    channel=st.one_of(REFERENCES, st.just(NONE)),
)
def test_whatever_is_answered_the_file_is_valid(**typed: str) -> None:
    """Every answer that is taken stands in the file as it was typed, whatever characters it has."""
    answers = {}
    for name, question in QUESTIONS.items():
        try:
            answers[name] = question.judge(typed[name])
        except ValueError:
            answers[name] = question.default
    file = Path("mailcanary.yaml")
    file.write_text(text_of(answers), "utf-8")
    configuration = load(file, CHECKS, secrets=False)
    assert answers["mailbox"] == configuration.mailboxes["mailbox-1"].address.reveal()
    assert answers["tenant"] == configuration.apps["mailer"].tenant.tenant_id
    assert answers["client_id"] == configuration.apps["mailer"].client_id
    assert (answers["channel"] != NONE) == bool(configuration.channels)
