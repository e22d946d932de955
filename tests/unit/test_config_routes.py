"""The ways to endpoints that follow from a file: where somebody signs in with a token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checks.core.target import Route
from checks.registry import CHECKS
from monitor.config.load import load

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = """\
tenants:
  contoso: {tenant_id: 11111111-2222-4333-8444-555555555555}
apps:
  mailer: {tenant: contoso, client_id: 3fd2b7a9-0000-4000-8000-000000000001, credential: {secret: env:APP_SECRET}}
mailboxes:
  billing: {address: billing@contoso.example, app: mailer}
inboxes:
  own: {address: canary@contoso.example, app: mailer}
  partner: {address: canary@partner.example, password: env:APP_SECRET, imap: {host: imap.partner.example, port: 993}}
"""


@pytest.fixture
def routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Route]]:
    """The routes of a file, by their id."""
    monkeypatch.setenv("APP_SECRET", "s3cret~value")
    monkeypatch.chdir(tmp_path)

    def read(text: str) -> dict[str, Route]:
        Path("c.yaml").write_text(text)
        targets = [configured.target for configured in load(Path("c.yaml"), CHECKS).targets]
        return {target.id: target for target in targets if isinstance(target, Route)}

    return read


def test_a_server_that_takes_a_password_need_not_offer_xoauth2(routes: Callable[[str], dict[str, Route]]) -> None:
    """XOAUTH2 is asked for wherever a token is used, and not where only a foreign inbox signs in by password."""
    without = {way.rpartition("/")[0] for way, route in routes(FILE).items() if not route.xoauth2}
    assert {"imap.partner.example:993"} == without


def test_a_named_endpoint_must_offer_xoauth2_only_where_it_is_used(routes: Callable[[str], dict[str, Route]]) -> None:
    """A relay that nobody signs in at need not; one more way to a server that tokens are used at must."""
    named = """\
endpoints:
  relay: {host: relay.example, port: 25}
  pinned: {host: smtp.office365.com, port: 587, ip: "192.0.2.1"}
"""
    asked = {way: route.xoauth2 for way, route in routes(FILE + named).items()}
    assert (False, True) == (asked["relay.example:25/ipv4"], asked["smtp.office365.com:587/192.0.2.1"])


def test_an_endpoint_in_use_stays_as_it_is_used(routes: Callable[[str], dict[str, Route]]) -> None:
    """That the file names it once more takes nothing from it: the CA of its cloud is trusted, XOAUTH2 asked for."""
    Path("ca.pem").touch()
    lab = FILE.replace("contoso: {", "contoso: {cloud: lab, ", 1)
    lab += "clouds: {lab: {smtp: {host: mail.lab, port: 587}, imap: {host: mail.lab, port: 993}, ca_file: ca.pem}}\n"
    before = routes(lab)
    assert before == routes(lab + "endpoints: {mail: {host: mail.lab, port: 587}}\n")
