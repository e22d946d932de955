"""Refresh tokens in files: each use gives a new one, which takes its place at once and is never lost."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from checks.core.causes import table
from checks.core.kit import AccessToken, Prompt
from checks.core.model import Blame, Kind, Level, Outcome, Phase
from checks.core.secret import Redactor, Secret
from checks.core.trace import Failure, Trace
from checks.wire import entra, refresh
from monitor.sim import records
from monitor.sim.contoso import DESK_ID
from tests.checks import apps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.checks.lab import Lab


async def test_each_use_puts_the_new_token_into_the_file(lab: Lab, tmp_path: Path) -> None:
    """After a run the file holds the token that the authority gave last, private to its owner, and nothing beside it."""
    file = tmp_path / "desk" / "token"
    file.parent.mkdir()
    credential = apps.desk(lab, file)
    before = json.loads(file.read_text())
    assert Outcome.PASS is (await lab.run("token", credential)).outcome
    after = json.loads(file.read_text())
    assert before["refresh_token"] != after["refresh_token"]
    assert lab.office.consents.knows(after["refresh_token"])
    assert before["signed_in_at"] == after["signed_in_at"]
    assert abs(datetime.fromisoformat(after["obtained_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert [apps.SEND, "offline_access"] == after["scopes"], "what is configured, whatever of it MSAL adds itself"
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert [file] == list(file.parent.iterdir())


async def test_the_age_of_the_token_is_measured(lab: Lab, tmp_path: Path) -> None:
    """The first run reports the age that stands in the file, the second that of the token that the first one got."""
    credential = apps.desk(lab, tmp_path / "token")
    ages = [(await lab.run("token", credential)).measures["refresh_token_age_seconds"] for _ in range(2)]
    assert 3600 <= ages[0] < 3700
    assert 0 <= ages[1] < 60


async def test_a_bare_token_is_taken_and_becomes_ours(lab: Lab, tmp_path: Path) -> None:
    """A token as other programs keep it is as old as its file, and is written back in our form."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file, stored=apps.given_token(lab) + "\n")
    day_ago = (datetime.now(UTC) - timedelta(days=1)).timestamp()
    os.utime(file, (day_ago, day_ago))
    result = await lab.run("token", credential)
    assert Outcome.PASS is result.outcome
    assert 86_400 <= result.measures["refresh_token_age_seconds"] < 86_500
    assert lab.office.consents.knows(apps.stored_token(file))


async def test_the_file_is_read_anew_each_time(lab: Lab, tmp_path: Path) -> None:
    """Whoever signs in again is served by the next run, without a restart."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file, stored="1.AXoAof-another-app")
    refused = await lab.run("token", credential)
    assert ("entra.refresh_token_invalid", 9002313) == (refused.worst.cause, refused.worst.evidence.aadsts)
    apps.desk(lab, file)
    assert Outcome.PASS is (await lab.run("token", credential)).outcome


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b'{"refresh_token": "1.AXoA-cut-off', "is not whole"),
        (b'{"refresh_token": ""}', "holds no refresh token"),
        (b'{"refresh_token": ["1.AXoA"]}', "holds no refresh token"),
        (b'{"access_token": "hunter2"}', "holds no refresh token"),
        (b"hunter2 and more words", "holds no refresh token"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b'{"a":' * 12_000, "is not whole"),
        (b"x" * 70_000, "is larger than 65536 bytes"),
        (None, "cannot be read: No such file or directory"),
    ],
    ids=["empty", "cut", "blank", "list", "other", "words", "binary", "nested", "endless", "missing"],
)
async def test_a_file_without_a_refresh_token(lab: Lab, tmp_path: Path, content: bytes | None, words: str) -> None:
    """It is told with its path and the command that mends it, before anything is asked; its content shows nowhere."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    result = await lab.run("token", credential)
    evidence = result.worst.evidence
    assert ("entra.refresh_token_file", Phase.TOKEN, Kind.OBSERVED) == (
        result.worst.cause,
        evidence.phase,
        evidence.kind,
    )
    assert f"{file}: {words}" in evidence.text
    assert "mailcanary login desk-mailer" in table()[result.worst.cause].steps_for(credential.words)[0]
    assert "hunter2" not in repr(result)


REFUSALS = [
    ("refresh_token_expired", "desk-mailer", "entra.refresh_token_expired", 700082, Blame.USER),
    ("sessions_revoked", apps.USER, "entra.sessions_revoked", 50173, Blame.USER),
    ("device_code_blocked", "contoso.example", "entra.device_code_blocked", 530036, Blame.ENTRA_ADMIN),
    ("delegated_consent_revoked", "desk-mailer", "entra.consent_missing", 65001, Blame.ENTRA_ADMIN),
    ("public_client_disabled", "desk-mailer", "entra.client_unproven", 7000218, Blame.ENTRA_ADMIN),
]


@pytest.mark.parametrize(("fault", "subject", "cause", "aadsts", "blame"), REFUSALS)
async def test_a_grant_that_is_not_good_any_more(
    lab: Lab, tmp_path: Path, fault: str, subject: str, cause: str, aadsts: int, blame: Blame
) -> None:
    """Each end of a grant has its own cause and its own next move, and the file stays as it was."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    before = file.read_bytes()
    await lab.office.inject(fault, subject)
    result = await lab.run("token", credential)
    evidence = result.worst.evidence
    assert (cause, aadsts, Phase.TOKEN) == (result.worst.cause, evidence.aadsts, evidence.phase)
    assert blame is table()[cause].blame
    assert before == file.read_bytes()
    assert "refresh_token_age_seconds" in result.measures, "how old it was is what the owner wants to know now"


async def test_a_confidential_app_adds_its_secret(lab: Lab, tmp_path: Path) -> None:
    """With its secret it passes, and the token says so (appidacr 1); a wrong one is the credential's fault."""
    app = lab.office.world.app_registered(DESK_ID)
    assert app is not None
    lab.office.world.declare(replace(app, public_client=False, secrets=(records.Secret("desk~secret"),)))
    result = await lab.run("token", apps.desk(lab, tmp_path / "token", secret=Secret("desk~secret")))
    assert "1" == result.facts[0].credential_kind
    result = await lab.run("token", apps.desk(lab, tmp_path / "token", secret=Secret("wrong~secret")))
    assert "entra.secret_invalid" == result.worst.cause
    assert "wrong~secret" not in repr(result)


async def test_one_file_is_used_by_one_at_a_time(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty runs at once, also of two apps that share a file, read and replace it one after the other."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    used: list[str] = []
    load = refresh.load

    def noted(path: Path) -> refresh.Stored:
        stored = load(path)
        used.append(stored.token.reveal())
        return stored

    monkeypatch.setattr(refresh, "load", noted)
    other = replace(credential, app=replace(credential.app, id="desk-too"))
    results = await asyncio.gather(*(lab.run("token", one) for one in (credential, other) * 15))
    assert {Outcome.PASS} == {result.outcome for result in results}
    assert 30 == len(set(used)), "each run began with what the run before it had stored"
    assert apps.stored_token(file) not in used


DISK: Mapping[str, tuple[type[OSError], int, str]] = {
    "read-only": (PermissionError, 30, "Read-only file system"),
    "full": (OSError, 28, "No space left on device"),
}


@pytest.mark.parametrize("trouble", DISK)
async def test_a_token_that_cannot_be_stored_is_told_and_kept(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """A full disk and a read-only folder are a warning of their own; the newest token is used on, and stored later."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    on_disk = file.read_bytes()
    kind, number, words = DISK[trouble]

    def refuse(*_: object, **__: object) -> None:
        raise kind(number, words)

    with monkeypatch.context() as broken:
        broken.setattr("tempfile.mkstemp" if trouble == "read-only" else "os.fsync", refuse)
        results = [await lab.run("token", credential) for _ in range(3)]
    assert [Outcome.WARN] * 3 == [result.outcome for result in results]
    for result in results:
        assert ("entra.refresh_token_unsaved", Level.WARN) == (result.worst.cause, result.worst.level)
        assert f"{file}: cannot be written: {words}" == result.worst.evidence.text
        assert Blame.MONITOR is table()[result.worst.cause].blame
    assert on_disk == file.read_bytes()
    assert [file] == [one for one in tmp_path.iterdir() if "token" in one.name], "nothing half written is left"
    ages = [result.measures["refresh_token_age_seconds"] for result in results]
    assert [True, False, False] == [age > 3500 for age in ages], (
        "the second run used what the first one could not store"
    )

    assert Outcome.PASS is (await lab.run("token", credential)).outcome
    assert on_disk != file.read_bytes()
    assert lab.office.consents.knows(apps.stored_token(file))


async def test_a_new_sign_in_goes_before_what_could_not_be_stored(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token in memory stands for the file's only while the file is the one that could not be replaced."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    with monkeypatch.context() as broken:
        broken.setattr("checks.wire.refresh.replace_text", _full)
        assert Outcome.WARN is (await lab.run("token", credential)).outcome
    apps.desk(lab, file)
    result = await lab.run("token", credential)
    assert result.measures["refresh_token_age_seconds"] > 3500


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


async def test_the_file_is_replaced_before_the_token_is_used(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told of an access token finds its refresh token stored."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    before = apps.stored_token(file)
    found: list[str] = []

    def seeing(**fields: Any) -> AccessToken:
        found.append(apps.stored_token(file))
        return AccessToken(**fields)

    monkeypatch.setattr(entra, "AccessToken", seeing)
    assert Outcome.PASS is (await lab.run("token", credential)).outcome
    (stored,) = found
    assert before != stored


async def test_a_symbolic_link_stays_one(lab: Lab, tmp_path: Path) -> None:
    """What is replaced is the file that a link leads to."""
    file, link = tmp_path / "real" / "token", tmp_path / "token"
    file.parent.mkdir()
    link.symlink_to(file)
    credential = apps.desk(lab, link)
    before = file.read_bytes()
    assert Outcome.PASS is (await lab.run("token", credential)).outcome
    assert link.is_symlink()
    assert before != file.read_bytes()


async def test_what_a_killed_process_left_is_swept_up(lab: Lab, tmp_path: Path) -> None:
    """A half-written file of long ago is removed, since there is a secret in it; one of this moment may be in use."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    old, new = tmp_path / ".token.a1.new", tmp_path / ".token.b2.new"
    for left in (old, new):
        left.write_text("half a secret")
    os.utime(old, (1_000_000, 1_000_000))
    assert Outcome.PASS is (await lab.run("token", credential)).outcome
    assert (False, True) == (old.exists(), new.exists())


async def test_no_secret_is_in_results_logs_or_tracebacks(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a refresh token nor an access token nor an assertion shows, whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    file, token_file = tmp_path / "token", tmp_path / "assertion"
    credential = apps.desk(lab, file)
    secrets = [apps.stored_token(file)]
    federated = apps.cluster(lab, token_file)
    secrets.append(token_file.read_text())
    echo = {"status": 400, "body": json.dumps({"error": "invalid_grant", "error_description": " ".join(secrets)})}
    seen = []
    for fault in ({}, echo):
        if fault:
            await lab.office.inject("http_reply", "entra", fault)
        for target in (credential, federated):
            seen.append(repr(await lab.run("token", target)))
            trace = Trace(lab.kit.clock, Redactor(target.private))
            try:
                await lab.kit.tokens.fresh(target, trace)
            except Failure as failure:
                logging.getLogger("test").exception("it failed")
                seen.append(repr(failure.evidence))
        secrets.append(apps.stored_token(file))
    assert "[secret]" in "".join(seen)
    told = "".join(seen) + caplog.text + "".join(str(record.exc_info) for record in caplog.records)
    assert not [secret for secret in secrets if secret in told]
    assert "eyJ" not in told


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"token_type": "Bearer", "refresh_token": "1.AXoA-short"}, "JSON with refresh_token, token_type"),
        (
            {"access_token": "a.b.hunter2", "refresh_token": "1.AXoA-short", "expires_in": "soon"},
            "JSON with access_token",
        ),
        ({}, "JSON with nothing in it"),
    ],
    ids=["no-access-token", "no-number", "empty"],
)
async def test_half_a_grant_shows_none_of_its_tokens(
    lab: Lab, tmp_path: Path, body: dict[str, str], words: str
) -> None:
    """An answer with some of a grant's fields is nonsense; its keys are told, its values are not, and the file stays."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    before = file.read_bytes()
    await lab.office.inject("http_reply", "entra", {"status": 200, "body": json.dumps(body)})
    result = await lab.run("token", credential)
    assert (Kind.NONSENSE, Phase.TOKEN) == (result.worst.evidence.kind, result.worst.evidence.phase)
    assert result.worst.evidence.text.startswith(words)
    assert not [secret for secret in ("1.AXoA-short", "hunter2") if secret in repr(result)]
    assert before == file.read_bytes()


async def test_the_owner_of_the_file_is_kept(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is given to whom the old one belonged; where that is not allowed it is ours, and is written all the same."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    owner = file.stat()
    given: list[tuple[int, int]] = []

    def refused(_: int, user: int, group: int) -> None:
        given.append((user, group))
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.fchown", refused)
    assert Outcome.PASS is (await lab.run("token", credential)).outcome
    assert [(owner.st_uid, owner.st_gid)] == given
    assert lab.office.consents.knows(apps.stored_token(file))


async def test_signing_in_stores_a_token_that_works(lab: Lab, tmp_path: Path) -> None:
    """A person who types the code makes the file; the very next run passes with it."""
    file = tmp_path / "token"
    credential = apps.desk(lab, file)
    file.unlink()
    lab.office.consents.interval_s = 1
    prompts: list[Prompt] = []

    def typed(prompt: Prompt) -> None:
        prompts.append(prompt)
        lab.office.consents.sign_in(prompt.code, apps.USER)

    await lab.kit.tokens.sign_in(credential, Trace(lab.kit.clock, Redactor()), typed)
    ((page, seconds),) = [(prompt.page, prompt.seconds) for prompt in prompts]
    assert (f"{lab.office.authority_url}/device", 900) == (page, seconds)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert json.loads(file.read_text())["signed_in_at"] is not None
    assert Outcome.PASS is (await lab.run("token", credential)).outcome


async def test_nobody_signs_in_for_a_folder_that_is_read_only(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the token could not be stored is told before a person is asked for anything."""
    credential = apps.desk(lab, tmp_path / "token")
    monkeypatch.setattr("checks.wire.entra.ensure_replaceable", _full)
    with pytest.raises(Failure) as failed:
        await lab.kit.tokens.sign_in(credential, Trace(lab.kit.clock, Redactor()), pytest.fail)
    assert "entra.refresh_token_unwritable" == table().classify(failed.value.evidence).id
