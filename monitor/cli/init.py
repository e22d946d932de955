"""`mailcanary init`: a first configuration from a few answers. It asks where secrets are, never for one."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import yaml
from pydantic import ValidationError

from monitor.config import model
from monitor.config.wording import explained

NONE = "none"
NOT_WRITTEN = 2
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]*").fullmatch
_CERTIFICATE_FILE = re.compile(r".+\.(pem|pfx|p12)", re.IGNORECASE).fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked. The answer has to fit the `key` of a `part` of the configuration.

    `example`: the default only shows what an answer looks like. `optional`: the answer may be `none`.
    """

    words: str
    default: str
    part: type[model.Part]
    key: str
    example: bool = False
    optional: bool = False

    def judge(self, answer: str) -> str:
        """The answer, if it is one. Raises ValueError, which does not repeat it: it may be a secret."""
        answer = answer.strip()
        if self.optional and answer == NONE:
            return NONE
        if self is QUESTIONS["certificate"] and not _CERTIFICATE_FILE(answer):
            raise ValueError("expected the name of a file that ends with .pem, .pfx or .p12")
        try:
            self.part.model_validate({self.key: answer})
        except ValidationError as error:
            for where, message in explained(error, self.part):
                if where == (self.key,):
                    raise ValueError(message) from error
        return answer


QUESTIONS: Mapping[str, Question] = {
    "tenant": Question(
        words="The tenant: its GUID, or one of its domains",
        default="contoso.onmicrosoft.com",
        part=model.Tenant,
        key="tenant_id",
        example=True,
    ),
    "client_id": Question(
        words="The application (client) ID of the app that sends",
        default="00000000-0000-0000-0000-000000000000",
        part=model.App,
        key="client_id",
        example=True,
    ),
    "secret": Question(
        words="Where its secret is: env:NAME, file:PATH or cmd:COMMAND; none if it has a certificate",
        default="env:MAILCANARY_SECRET",
        part=model.Credential,
        key="secret",
        optional=True,
    ),
    "certificate": Question(
        words="The file with its certificate and private key: PEM or PFX",
        default="client.pem",
        part=model.Certificate,
        key="file",
    ),
    "passphrase": Question(
        words="Where the passphrase of the private key is, in the same way; none if there is none",
        default=NONE,
        part=model.Certificate,
        key="passphrase",
        optional=True,
    ),
    "mailbox": Question(
        words="The address of a mailbox that the app sends as",
        default="billing@contoso.com",
        part=model.Mailbox,
        key="address",
        example=True,
    ),
    "channel": Question(
        words="Where the Apprise URL is that alerts go to, in the same way; none for no alerts",
        default="env:MAILCANARY_CHANNEL",
        part=model.Channel,
        key="url",
        optional=True,
    ),
}


def write_first(file: Path, given: Mapping[str, str | None], *, ask: bool, force: bool) -> None:
    """Write the file from what was given, else asked for, else from defaults. Ends with status 2 when it is there already."""
    if given["secret"] not in {None, NONE} and (given["certificate"] or given["passphrase"]):
        raise click.UsageError("an app signs in with a secret or with a certificate, not with both")
    if file.exists() and not force:
        _not_written(file, "is there already; --force overwrites it")
    answers = _answers(given, ask=ask)
    try:
        with file.open("w" if force else "x", encoding="utf-8") as new:
            new.write(text_of(answers))
    except OSError as error:
        _not_written(file, f"cannot be written: {error.strerror}")
    click.echo(f"Wrote {file}.")
    if left := [name for name, asked in QUESTIONS.items() if asked.example and answers[name] == asked.default]:
        click.echo(f"Still only an example: {', '.join(left)}.".replace("_", " "))
    click.echo(f"Next: mailcanary validate {file}")


def _not_written(file: Path, why: str) -> None:
    click.echo(f"{file}: {why}", err=True)
    sys.exit(NOT_WRITTEN)


def _answers(given: Mapping[str, str | None], *, ask: bool) -> dict[str, str]:
    """An answer to every question; of secret and certificate one is `none`."""
    said = dict(given)
    if said["certificate"] or said["passphrase"]:
        said["secret"] = NONE
    answers: dict[str, str] = {}
    for name, question in QUESTIONS.items():
        if name in {"certificate", "passphrase"} and answers["secret"] != NONE:
            answers[name] = NONE
        else:
            answers[name] = said[name] or (_asked(question) if ask else question.default)
    return answers


def _asked(question: Question) -> str:
    def judged(answer: str) -> str:
        try:
            return question.judge(answer)
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    answer: str = click.prompt(question.words, default=question.default, value_proc=judged)
    return answer


def text_of(answers: Mapping[str, str]) -> str:
    """The file."""
    said = {name: _scalar(answer) for name, answer in answers.items()}
    credential = [f"secret: {said['secret']}"]
    if answers["secret"] == NONE:
        credential = ["certificate:", f"  file: {said['certificate']}"]
        if answers["passphrase"] != NONE:
            credential.append(f"  passphrase: {said['passphrase']}")
    channel = "channels: {}  # such as  chat: {url: env:MAILCANARY_CHANNEL}"
    if answers["channel"] != NONE:
        channel = f"channels:\n    chat:\n      url: {said['channel']}"
    return _TEXT.format(**{**said, "credential": "\n      ".join(credential), "channel": channel})


def _scalar(text: str) -> str:
    """Text as YAML has it: in quotes only where it would be read as something else."""
    if _PLAIN(text) and yaml.safe_load(text) == text:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=sys.maxsize).rstrip("\n")


_TEXT = """\
# The configuration of mailcanary. Durations: 30s, 5m, 1h, 60d. Unknown keys are errors.
# Secrets never stand here, only where they are: env:NAME, file:PATH or cmd:COMMAND.
# `mailcanary schema` prints what else may stand here, as a JSON Schema for your editor.

tenants:
  main:
    tenant_id: {tenant}

# App registrations: one token serves all the mailboxes of an app.
apps:
  mailer:
    tenant: main
    client_id: {client_id}
    # owner: {{team: finance, contact: "#finance-it"}}  # shown in alerts
    credential:
      {credential}

# Addresses that apps send as. Metrics show the name, which is yours to choose; the address they never do.
mailboxes:
  mailbox-1:
    address: {mailbox}
    app: mailer
    # importance: critical
    checks:
      smtp_auth: {{interval: 5m}}  # connects and signs in, sends nothing
      # canary: {{interval: 30m}}  # sends one marked message, to the mailbox itself

# More mailboxes, in a file of their own, whose first line is: id,address,app
# mailboxes_from: [{{file: fleet.csv}}]

alerts:
  {channel}

store: sqlite:mailcanary.db  # beside this file
web:
  listen: 127.0.0.1:9925  # metrics and health
"""
