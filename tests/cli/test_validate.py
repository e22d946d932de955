"""`mailcanary validate`: a good file is summed up, a wrong one is explained in the words of a golden file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from monitor.cli.main import cli
from monitor.config import model
from monitor.config.wording import EXPECTED
from monitor.sim import make_client_certificate
from tests.daemon.process import command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

    from monitor.sim import ClientCertificate

INVALID = Path(__file__).parents[1] / "golden" / "cli" / "invalid"
MISTAKES = sorted(path.stem for path in INVALID.glob("*.yaml"))
GOOD = """\
tenants:
  contoso: {tenant_id: contoso.example}
apps:
  billing-mailer:
    tenant: contoso
    client_id: 3fd2b7a9-0000-4000-8000-000000000001
    credential: {secret: file:billing.secret}
mailboxes:
  billing: {address: billing@contoso.example, app: billing-mailer}
  payslips: {address: payslips@contoso.example, app: billing-mailer}
alerts:
  channels:
    chat: {url: file:chat.url}
"""


@pytest.fixture(scope="session")
def another_certificate() -> ClientCertificate:
    """A key and certificate that belong together, and to nobody."""
    return make_client_certificate("another")


@pytest.fixture
def folder(tmp_path: Path, hr_certificate: ClientCertificate, another_certificate: ClientCertificate) -> Path:
    """What the configurations refer to: secrets, and certificates that can and cannot be used."""
    texts = {
        "billing.secret": "planted~Secret.Value\n",
        "empty.secret": "\n",
        "chat.url": "json://127.0.0.1/planted-token",
    }
    for name, text in {**texts, "unknown.url": "carrier-pigeon://planted-token"}.items():
        (tmp_path / name).write_text(text)
    hr_certificate.write(tmp_path / "good.pem")
    another_certificate.write(tmp_path / "foreign.pem")
    key_text, certificate = parted((tmp_path / "good.pem").read_text())
    key = load_pem_private_key(key_text.encode(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"planted-passphrase"))
    elliptic = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "encrypted.pem").write_text(encrypted.decode() + certificate)
    (tmp_path / "ec.pem").write_text(elliptic.decode() + certificate)
    (tmp_path / "no-key.pem").write_text(certificate)
    (tmp_path / "another.pem").write_text(key_text + parted((tmp_path / "foreign.pem").read_text())[1])
    return tmp_path


def parted(pem: str) -> tuple[str, str]:
    """The key and the certificate of a file that holds both, in any order."""
    blocks = [f"{block.strip()}\n" for block in pem.replace("-----\n-----BEGIN", "-----\n\0-----BEGIN").split("\0")]
    (key,) = [block for block in blocks if "PRIVATE KEY" in block]
    (certificate,) = [block for block in blocks if "BEGIN CERTIFICATE" in block]
    return key, certificate


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_explained_as_agreed(name: str, folder: Path) -> None:
    """Each wrong file gives status 2, nothing on stdout, its golden text on stderr, and nothing private.

    Run inside this process, since there are many; that a process does the same is shown below.
    """
    file = folder / "mailcanary.yaml"
    file.write_bytes((INVALID / f"{name}.yaml").read_bytes())
    done = CliRunner().invoke(cli, ["validate", str(file)])
    assert (2, "") == (done.exit_code, done.stdout), done.output
    assert (INVALID / f"{name}.txt").read_text() == done.stderr.replace(f"{folder}/", "")
    assert "planted" not in done.stderr
    assert "@contoso.example" not in done.stderr


def test_every_wrong_file_has_its_text_and_every_text_its_file() -> None:
    """No golden file is left over, and there are many."""
    assert MISTAKES == sorted(path.stem for path in INVALID.glob("*.txt"))
    assert len(MISTAKES) >= 25


WITH_WORDS = {None, model.DURATION_PATTERN, model.REFERENCE_PATTERN}  # of their own


def patterns(part: type[BaseModel]) -> Iterator[str]:
    """The names of all fields below a part that demand a pattern."""
    for name, schema in part.model_json_schema().get("properties", {}).items():
        if {schema.get("pattern"), schema.get("items", {}).get("pattern")} - WITH_WORDS:
            yield name


def test_no_pattern_is_shown_to_a_person() -> None:
    """Every key of the file that must match a pattern has words for what is expected."""
    parts = [part for part in vars(model).values() if isinstance(part, type) and issubclass(part, model.Part)]
    demanding = {name for part in parts for name in patterns(part)}
    assert {"address", "client_id", "listen", "store", "tenant_id"} <= demanding
    assert not demanding - EXPECTED.keys()


async def test_a_good_file_is_summed_up(folder: Path) -> None:
    """One line says what the file amounts to."""
    file = folder / "mailcanary.yaml"
    file.write_text(GOOD)
    summed_up = f"{file}: good. 1 app, 2 mailboxes, 5 watches, 1 alert channel.\n"
    assert (0, summed_up, "") == await command("validate", str(file))


async def test_without_secrets_a_checkout_can_be_validated(tmp_path: Path) -> None:
    """With no secret at hand the rest of the file is validated; without the flag each secret is missed."""
    file = tmp_path / "mailcanary.yaml"
    file.write_text(GOOD)
    status, out, err = await command("validate", "--without-secrets", str(file))
    assert (0, "") == (status, err)
    assert out.endswith(": good. 1 app, 2 mailboxes, 5 watches, 1 alert channel.\n")
    status, out, err = await command("validate", str(file))
    assert (2, "") == (status, out)
    assert [7, 13] == lines_of(err, file)


async def test_bad_rows_of_a_fleet_are_warnings(folder: Path) -> None:
    """The file is good without them: status 0, the sum on stdout, and each bad row on stderr."""
    file = folder / "mailcanary.yaml"
    file.write_text(f"{GOOD}mailboxes_from: [{{file: fleet.csv}}]\n")
    rows = "hr,hr@contoso.example,billing-mailer\nbad,nowhere,billing-mailer\npayslips,x@contoso.example,nobody\n"
    (folder / "fleet.csv").write_text(f"id,address,app\n{rows}")
    warnings = """\
fleet.csv:3:5: bad.address: expected an address such as billing@contoso.com; the row is left out
fleet.csv:4:1: id: there is a mailbox of this id already, in `mailboxes`; the row is left out
"""
    status, out, err = await command("validate", str(file))
    assert (0, warnings) == (status, err.replace(f"{folder}/", ""))
    assert out.endswith(": good. 1 app, 3 mailboxes, 6 watches, 1 alert channel.\n")
    file.write_text(file.read_text().replace("fleet.csv", "fleet.csv, on_bad_row: refuse"))
    status, out, err = await command("validate", str(file))
    assert (2, "", warnings.replace("; the row is left out", "")) == (status, out, err.replace(f"{folder}/", ""))


def lines_of(err: str, file: Path) -> list[int]:
    """The line numbers that the mistakes are told with."""
    return [int(line.removeprefix(str(file)).split(":")[1]) for line in err.splitlines()]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "none.yaml",
            "there is no such file: is the path right? `check` and `run` take it from -c or MAILCANARY_CONFIG",
        ),
        ("", "cannot be read: Is a directory"),
        ("good.pfx", "is not UTF-8 (byte 1)"),
        ("empty", "is empty: expected tenants, apps and mailboxes"),
    ],
)
async def test_what_is_no_text_file_is_said_so(tmp_path: Path, name: str, said: str) -> None:
    """A missing file, a directory, bytes, and nothing at all: one line each, and status 2."""
    (tmp_path / "good.pfx").write_bytes(b"0\x82\x09\xc0")
    (tmp_path / "empty").touch()
    file = tmp_path / name
    assert (2, "", f"{file}: {said}\n") == await command("validate", str(file))


async def test_several_mistakes_are_told_at_once_in_the_order_of_the_file(folder: Path) -> None:
    """A process says what its golden file says: all mistakes, sorted by line, on stderr."""
    file = folder / "mailcanary.yaml"
    file.write_bytes((INVALID / "several.yaml").read_bytes())
    status, out, err = await command("validate", str(file))
    assert (2, "") == (status, out)
    assert (INVALID / "several.txt").read_text() == err.replace(f"{folder}/", "")
    lines = lines_of(err, file)
    assert 5 == len(lines)
    assert sorted(lines) == lines
