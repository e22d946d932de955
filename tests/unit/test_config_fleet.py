"""Fleets: mailboxes in CSV and YAML files of their own; each bad row told with its place, the rest used as configured."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checks.registry import CHECKS
from monitor.config import Configuration, ConfigurationError, load
from monitor.config.cells import checks_of
from monitor.model import Importance
from monitor.plan import plan_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[..., Configuration]

MAIN = """\
tenants:
  contoso: {tenant_id: 11111111-2222-4333-8444-555555555555}
apps:
  billing-mailer:
    tenant: contoso
    client_id: 3fd2b7a9-0000-4000-8000-000000000001
    credential: {secret: env:NOT_READ}
inboxes:
  canary-inbox: {address: canary@contoso.example}
  outside: {address: canary@partner.example}
groups:
  berlin: {labels: {site: berlin, floor: "3"}}
"""


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Loads a configuration with a fleet of this text, without secrets; file names are relative in what is told."""
    monkeypatch.chdir(tmp_path)

    def loaded(
        fleet: str | bytes, *, name: str = "fleet.csv", rule: str = "keep_rest", more: str = ""
    ) -> Configuration:
        Path(name).write_bytes(fleet.encode() if isinstance(fleet, str) else fleet)
        Path("c.yaml").write_text(f"{MAIN}mailboxes_from: [{{file: {name}, on_bad_row: {rule}}}]\n{more}")
        return load(Path("c.yaml"), CHECKS, secrets=False)

    return loaded


def told(problems: object) -> list[str]:
    """Problems as lines, without the folder."""
    return [str(problem).replace(f"{Path.cwd()}/", "") for problem in problems]  # type: ignore[attr-defined]


def refused(read: Read, fleet: str | bytes, **how: str) -> list[str]:
    """What is said of a fleet because of which the configuration is not taken."""
    with pytest.raises(ConfigurationError) as caught:
        read(fleet, **how)
    return told(caught.value.problems)


def test_every_column_means_what_the_key_means(read: Read) -> None:
    """A row with every column is the same mailbox as one in `mailboxes`, in whatever order the columns stand."""
    configuration = read(
        "label.cost centre,checks,send_as,smtp,importance,group,app,address,id\n"
        "4711,imap_auth smtp_auth=off canary.interval=30m canary.to=canary-inbox+outside,"
        "a@contoso.example b@contoso.example,hve,critical,berlin,billing-mailer,billing@contoso.example,billing\n"
    )
    (configured,) = [one for one in configuration.targets if one.target.id == "billing"]
    mailbox = configuration.mailboxes["billing"]
    assert "billing@contoso.example" == mailbox.address.reveal()
    assert ("billing-mailer", "smtp-hve.office365.com:587") == (mailbox.credential.app.id, mailbox.connects_to)
    assert Importance.CRITICAL is configured.importance
    assert {"site": "berlin", "floor": "3", "cost centre": "4711"} == configured.labels
    assert {"imap_auth", "canary"} == configured.checks.keys()
    assert 1800.0 == configured.checks["canary"].interval
    assert ["canary-inbox", "outside"] == [inbox.id for inbox in configured.checks["canary"].settings.to]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        b"id,address,app\nbilling,billing@contoso.example,billing-mailer\n",
        b"\xef\xbb\xbfid,address,app\r\nbilling,billing@contoso.example,billing-mailer\r\n",
        b"id;address;app\r\nbilling;billing@contoso.example;billing-mailer",
        b"id\taddress\tapp\nbilling\tbilling@contoso.example\tbilling-mailer\n",
        b'"id","address","app"\n"billing","billing@contoso.example","billing-mailer"\n',
        b"id, address , app\n\n billing , billing@contoso.example , billing-mailer \n   \n\n",
        b"id,address,app,,\nbilling,billing@contoso.example,billing-mailer,,\n,,,,\n",
        b"sep=;\r\nid;address;app\r\nbilling;billing@contoso.example;billing-mailer\r\n",
        b'#TYPE Selected.System.Management\r\n"Id","Address","App"\r\n"billing","billing@contoso.example","billing-mailer"\r\n',
        b"id,address,app\rbilling,billing@contoso.example,billing-mailer\r",
        b"id,address,app,importance,label.site\nbilling,billing@contoso.example,billing-mailer,,\n",
    ],
)
def test_what_people_export_is_read(read: Read, text: bytes) -> None:
    """Marks, line ends, quotes, blanks, empty lines, Excel's and PowerShell's habits: all the same one mailbox."""
    configuration = read(text)
    assert (["billing"], ()) == (list(configuration.mailboxes), configuration.warnings)
    assert "billing@contoso.example" == configuration.mailboxes["billing"].address.reveal()


HEADER = "id,address,app,importance,checks,group,smtp,label.site\n"
GOOD = "good,good@contoso.example,billing-mailer,,,,,\n"
BAD = [
    ("Bad Id,x@contoso.example,billing-mailer,,,,,", "3:1: id: expected a name of lower-case letters, digits, dots, dashes and underscores, at most 63, beginning with a letter or digit"),
    (",x@contoso.example,billing-mailer,,,,,", "3:1: id: is missing"),
    ("x@contoso.example,x,billing-mailer,,,,,", "3:1: id: expected a name of lower-case letters, digits, dots, dashes and underscores, at most 63, beginning with a letter or digit"),
    ("good,x@contoso.example,billing-mailer,,,,,", "3:1: id: there is a mailbox of this id already, in fleet.csv, line 2"),
    ("main,x@contoso.example,billing-mailer,,,,,", "3:1: id: there is a mailbox of this id already, in `mailboxes`"),
    ("bad,private at contoso.example,billing-mailer,,,,,", "3:5: bad.address: expected an address such as billing@contoso.com"),
    ("bad,,billing-mailer,,,,,", "3:5: bad.address: is missing"),
    ("bad,x@contoso.example,nobody,,,,,", "3:23: bad.app: there is no app 'nobody'; known: billing-mailer"),
    ("bad,x@contoso.example,private@contoso.example,,,,,", "3:23: bad.app: there is no app '[address]'; known: billing-mailer"),
    ("bad,x@contoso.example,billing-mailer,urgent,,,,", "3:38: bad.importance: expected normal or critical"),
    ("bad,x@contoso.example,billing-mailer,,smpt_auth=off,,,", "3:39: bad.checks.smpt_auth: there is no check 'smpt_auth'; known: token, endpoint, smtp_auth, imap_auth, pop_auth, canary, inbox"),
    ("bad,x@contoso.example,billing-mailer,,canary=on,,,", "3:39: bad.checks: expected words parted by spaces, such as canary, smtp_auth=off or canary.interval=30m"),
    ("bad,x@contoso.example,billing-mailer,,canary canary=off,,,", "3:39: bad.checks: canary is switched off and on in the same cell"),
    ("bad,x@contoso.example,billing-mailer,,canary.interval=soon,,,", "3:39: bad.checks.canary.interval: expected a duration such as 30s, 5m, 1h or 60d"),
    ("bad,x@contoso.example,billing-mailer,,canary.to=private@contoso.example,,,", "3:39: bad.checks.canary.to: expected the name of an inbox, not an address; known: canary-inbox, outside"),
    ('bad,"x@contoso.example",billing-mailer,,"canary, now",,,', "3:41: bad.checks: expected words parted by spaces, such as canary, smtp_auth=off or canary.interval=30m"),
    ("bad,x@contoso.example,billing-mailer,,,munich,,", "3:40: bad.group: there is no group 'munich'; known: berlin"),
    ("bad,x@contoso.example,billing-mailer,,,,hvee,", "3:41: bad.smtp: there is no alternative SMTP endpoint of cloud public 'hvee'; known: hve, legacy"),
    ("bad,x@contoso.example,billing-mailer", "3:1: bad: expected 8 cells, as the first line has; here are 3"),
    ("bad,x@contoso.example,billing-mailer,,,,,,more", "3:1: bad: expected 8 cells, as the first line has; here are 9"),
    ('\n"bad","private\nat home",billing-mailer,,,,,', "4:7: bad.address: expected an address such as billing@contoso.com"),
]  # fmt: skip
MAIN_MAILBOX = "mailboxes: {main: {address: main@contoso.example, app: billing-mailer}}\n"


@pytest.mark.parametrize(("row", "expected"), BAD)
def test_a_bad_row_is_told_with_its_place_and_left_out(read: Read, row: str, expected: str) -> None:
    """The row is named with line, column and what was expected; those before and after it are used."""
    after = "after,after@contoso.example,billing-mailer,,,,,\n"
    configuration = read(f"{HEADER}{GOOD}{row}\n{after}", more=MAIN_MAILBOX)
    assert [f"fleet.csv:{expected}; the row is left out"] == told(configuration.warnings)
    assert ["main", "good", "after"] == list(configuration.mailboxes)


@pytest.mark.parametrize(("row", "expected"), BAD)
def test_a_bad_row_is_refused_where_that_is_wanted(read: Read, row: str, expected: str) -> None:
    """With `refuse` the same is an error of the configuration, and no address shows in it."""
    problems = refused(read, f"{HEADER}{GOOD}{row}\n", rule="refuse", more=MAIN_MAILBOX)
    assert [f"fleet.csv:{expected}"] == problems
    assert "private" not in problems[0]


def test_every_mistake_of_every_row_is_told(read: Read) -> None:
    """Beside the mistakes of the main file, in which rows may be bad too."""
    rows = "one,x,nobody,urgent,,,,\ntwo,x@contoso.example,nobody,,smtp_auth.interval=1,,,\n"
    problems = refused(read, HEADER + GOOD + rows, rule="refuse", more="web: {listen: nowhere}\n")
    places = ["c.yaml:14:7", "fleet.csv:3:5", "fleet.csv:3:14", "fleet.csv:4:23", "fleet.csv:4:31"]
    assert set(places) == {problem.split(": ")[0] for problem in problems}


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        ("id,adress,app\n", "fleet.csv:1:4: unknown column 'adress'; did you mean address?"),
        ("id,address,app,colour\n", "fleet.csv:1:16: unknown column 'colour'; known here: id, address, app, group, smtp, importance, send_as, checks, label.NAME"),
        ("id,address,app,app\n", "fleet.csv:1:16: the column app stands here twice"),
        ("\n\nid,address\n", "fleet.csv:3:1: expected a first line that names the columns: app is missing"),
        ("billing,billing@contoso.example,billing-mailer\n", "fleet.csv:1:9: unknown column '[address]'; known here: id, address, app, group, smtp, importance, send_as, checks, label.NAME"),
        ("", "fleet.csv:1:1: expected a first line that names the columns: id, address, app are missing"),
        ("id,address,app\n", "fleet.csv: names no mailbox"),
        (b"id,address,app\nb\xfccher,b@contoso.example,billing-mailer\n", "fleet.csv: is not UTF-8 (byte 16): in Excel, save it as CSV UTF-8"),
        ('id,address,app\na,"b,c\nd,e,f\n', "fleet.csv:2:1: the row that begins here is not CSV: a quote is not closed, or is closed before its cell ends"),
        ("id,address,app\nbilling,nowhere,billing-mailer\n", "fleet.csv:2:9: billing.address: expected an address such as billing@contoso.com"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_fleet_is_refused(read: Read, fleet: str | bytes, expected: str) -> None:
    """What can not be parted into columns and rows, and a fleet without one good row, is not taken as an empty fleet."""
    assert expected in refused(read, fleet)


def test_a_missing_file_is_an_error_of_the_main_file(read: Read) -> None:
    """It is told where the file is named."""
    read(HEADER + GOOD)
    Path("fleet.csv").unlink()
    with pytest.raises(ConfigurationError) as caught:
        load(Path("c.yaml"), CHECKS, secrets=False)
    assert ["c.yaml:13:19: mailboxes_from.0.file: there is no file fleet.csv"] == told(caught.value.problems)


YAML = """\
good: {address: good@contoso.example, app: billing-mailer, labels: {site: berlin}, checks: {smtp_auth: false}}
bad:
  address: private
  app: nobody
Bad Id: {address: x@contoso.example, app: billing-mailer}
12: {address: x@contoso.example, app: billing-mailer}
"no": {address: x@contoso.example, app: billing-mailer, app: billing-mailer}
good: {address: x@contoso.example, app: billing-mailer}
text: private
keys: {address: x@contoso.example, app: billing-mailer, group: munich, checks: {canary: {to: [nowhere]}}}
"""
YAML_BAD = [
    "fleet.yaml:3:3: bad.address: expected an address such as billing@contoso.com",
    "fleet.yaml:5:1: id: expected a name of lower-case letters, digits, dots, dashes and underscores, at most 63, beginning with a letter or digit",
    "fleet.yaml:6:1: 12: YAML reads this key as a number: put it in quotes",
    "fleet.yaml:7:36: no.app: this key stands here twice",
    "fleet.yaml:8:1: id: there is a mailbox of this id already, in fleet.yaml, line 1",
    "fleet.yaml:9:1: text: expected keys: address, app, group, smtp, importance, labels, send_as, checks",
    "fleet.yaml:10:57: keys.group: there is no group 'munich'; known: berlin",
    "fleet.yaml:10:90: keys.checks.canary.to: there is no inbox 'nowhere'; known: canary-inbox, outside",
]  # fmt: skip


def test_yaml_has_the_shape_of_mailboxes(read: Read) -> None:
    """Mailboxes by id, bad ones told with their place; the good one has what it says."""
    configuration = read(YAML, name="fleet.yaml")
    assert [f"{bad}; the row is left out" for bad in YAML_BAD] == told(configuration.warnings)
    (configured,) = [one for one in configuration.targets if one.target.id == "good"]
    assert ({"site": "berlin"}, {}) == (configured.labels, configured.checks)
    assert YAML_BAD == refused(read, YAML, name="fleet.yaml", rule="refuse")


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        ("", "fleet.yaml: names no mailbox"),
        ("{}\n", "fleet.yaml: names no mailbox"),
        ("- billing\n", "fleet.yaml:1:1: expected mailboxes by their ids, as `mailboxes` has them"),
        (
            "a: &x {}\nb: *x\n",
            "fleet.yaml:2:4: aliases (*name) are not allowed: write the values out, or use `defaults`",
        ),
        ("a: 'b\n", "fleet.yaml:1:4: is not YAML: a quote or a bracket is not closed"),
    ],
)
def test_a_yaml_file_that_is_no_fleet_is_refused(read: Read, fleet: str, expected: str) -> None:
    """As a main file would be."""
    assert [expected] == refused(read, fleet, name="fleet.yaml")


def test_ids_are_unique_across_fleets(read: Read) -> None:
    """Of two files with the same id the first has it."""
    Path("other.csv").write_text(HEADER + GOOD + "own,own@contoso.example,billing-mailer,,,,,\n")
    read(HEADER + GOOD)
    Path("c.yaml").write_text(f"{MAIN}mailboxes_from: [{{file: fleet.csv}}, {{file: other.csv}}]\n")
    configuration = load(Path("c.yaml"), CHECKS, secrets=False)
    assert ["good", "own"] == list(configuration.mailboxes)
    expected = "other.csv:2:1: id: there is a mailbox of this id already, in fleet.csv, line 2; the row is left out"
    assert [expected] == told(configuration.warnings)


def test_what_a_group_says_wrong_is_told_once_and_not_of_rows(read: Read) -> None:
    """A mistake that rows only follow stands in the main file."""
    rows = "one,1@contoso.example,billing-mailer,,,slow,,\ntwo,2@contoso.example,billing-mailer,,,slow,,\n"
    more = "defaults: {importance: {normal: {checks: {smtp_auth: {interval: 30s, timeout: 9s}}}}}\n"
    text = MAIN.replace("  berlin:", "  slow: {checks: {smtp_auth: {timeout: 1m}}}\n  berlin:")
    Path("fleet.csv").write_text(HEADER + rows)
    Path("c.yaml").write_text(f"{text}mailboxes_from: [{{file: fleet.csv}}]\n{more}")
    with pytest.raises(ConfigurationError) as caught:
        load(Path("c.yaml"), CHECKS, secrets=False)
    expected = "c.yaml:12:31: groups.slow.checks.smtp_auth.timeout: 60 s is longer than the interval of 30 s"
    assert [expected] == told(caught.value.problems)


def test_the_files_are_those_that_were_read(read: Read) -> None:
    """The main file first, then the fleets, as they were before they were read."""
    configuration = read(HEADER + GOOD)
    assert ["c.yaml", "fleet.csv"] == [stamp.path.name for stamp in configuration.files]
    assert [Path(name).stat().st_mtime_ns for name in ("c.yaml", "fleet.csv")] == [
        one.mtime_ns for one in configuration.files
    ]


@pytest.mark.parametrize(
    "text", ["canary", "canary=off", "canary.interval=30m canary.to=a+b", "endpoint.warn_days=14 inbox.clean=false"]
)
def test_the_words_of_a_cell_say_what_yaml_says(text: str) -> None:
    """Each form of a word, as the mapping that stands under `checks` in YAML."""
    meant = {
        "canary": {"canary": {}},
        "canary=off": {"canary": False},
        "canary.interval=30m canary.to=a+b": {"canary": {"interval": "30m", "to": ["a", "b"]}},
        "endpoint.warn_days=14 inbox.clean=false": {"endpoint": {"warn_days": 14}, "inbox": {"clean": False}},
    }
    assert meant[text] == checks_of(text)


def rows_of_many(number: int) -> list[tuple[str, str]]:
    """So many mailboxes as CSV and as YAML: every fifth with a word on its checks, every tenth critical."""
    rows = []
    for one in range(number):
        importance = "critical" if one % 10 == 0 else "normal"
        csv_checks, yaml_checks = ("canary.to=outside", "{canary: {to: [outside]}}") if one % 5 == 0 else ("", "{}")
        start = f"mailbox-{one}", f"user{one}@contoso.example", "billing-mailer"
        csv = f"{','.join(start)},{importance},{csv_checks},berlin,,s{one % 7}\n"
        yaml = f"{start[0]}: {{address: {start[1]}, app: {start[2]}, importance: {importance}, group: berlin, labels: {{site: s{one % 7}}}, checks: {yaml_checks}}}\n"
        rows.append((csv, yaml))
    return rows


@pytest.mark.parametrize("form", ["csv", "yaml", "main file"])
def test_ten_thousand_mailboxes_become_a_plan_in_two_seconds(read: Read, form: str) -> None:
    """Of CPU time, whatever form they have; and garbage is collected again afterwards."""
    many = rows_of_many(10_000)
    if form == "main file":
        fleet, more = HEADER + GOOD, "mailboxes:\n" + "".join(f"  {yaml}" for _, yaml in many)
    else:
        fleet, more = (
            ("".join([HEADER, *(csv for csv, _ in many)]) if form == "csv" else "".join(yaml for _, yaml in many)),
            "",
        )
    before = time.process_time()
    configuration = read(fleet, name="fleet.yaml" if form == "yaml" else "fleet.csv", more=more)
    plan = plan_of(configuration)
    assert time.process_time() - before < 2.0
    assert gc.isenabled()
    assert 10_000 <= len(configuration.mailboxes) <= 10_001
    assert 2_000 == sum(watch.check == "canary" for watch in plan.watches.values())
    assert len({id(one.checks) for one in configuration.targets}) < 20
