"""Secrets and addresses show nowhere, and a redactor lets nothing private through, whatever the other side says."""

from __future__ import annotations

import base64
import copy
import pickle
import re
import string
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from checks.core import secret
from checks.core.secret import MASK, MAX_TEXT, Address, Redactor, Secret

SECRET = "Zq8Q~d+k/3wX.vT_r9%LmNp2sY-0aBcE"
ADDRESS = "billing.run@contoso.example"
# The header of every token of Entra ID, a payload and a signature, as they look.
JWT = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL291dGxvb2sifQ.c2lnbmF0dXJlLW9mLXRoaXM"


def b64(text: str) -> str:
    """Standard base64."""
    return base64.b64encode(text.encode()).decode()


def b64url(text: str) -> str:
    """Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "url": lambda text: quote(text, safe=""),
    "path of a url": quote,
    "form": quote_plus,
    "base64": b64,
    "base64 for URLs": b64url,
    "base64 in a URL": lambda text: quote(b64(text), safe=""),
}
SECRETS = st.text(alphabet=string.ascii_letters + string.digits + "~._-+/%=", min_size=16, max_size=60)
# Text in which no secret of SECRETS can stand by chance.
NOISE = st.text(alphabet=" \t\r\n,;:<>()[]äß", max_size=60)


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{!r}".format, "{:>40}".format])
def test_a_secret_prints_as_a_mask(show: Callable[[object], str]) -> None:
    """However a secret is printed, also inside a record, its value is not in it."""
    assert MASK in show(Secret(SECRET))
    assert SECRET not in show(Secret(SECRET))
    assert SECRET not in str([Secret(SECRET)])


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_copied(take: Callable[[object], object]) -> None:
    """A secret is refused by pickle and copy, which would let it out of its wrapper."""
    with pytest.raises(TypeError, match="not to be copied"):
        take(Secret(SECRET))


def test_a_secret_gives_its_value_on_demand_only() -> None:
    """`reveal` gives the value; two secrets are equal when their values are."""
    assert SECRET == Secret(SECRET).reveal()
    assert Secret(SECRET) == Secret(SECRET)
    assert Secret(SECRET) != Secret("another")


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{!r}".format])
def test_an_address_prints_its_domain_alone(show: Callable[[object], str]) -> None:
    """A printed address keeps its domain and loses the name of the person."""
    assert "***@contoso.example" in show(Address(ADDRESS))
    assert "billing" not in show(Address(ADDRESS))


def test_what_is_no_address_shows_nothing() -> None:
    """An address without an @ has no domain, so that nothing of it is printed."""
    assert "***@" == str(Address("billing.run"))


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
@given(value=SECRETS, before=NOISE, after=NOISE)
def test_a_known_secret_does_not_survive(disguise: Callable[[str], str], value: str, before: str, after: str) -> None:
    """A secret that is known is masked in every form in which it may come back."""
    found = Redactor([Secret(value)])(f"{before} {disguise(value)} {after}")
    assert disguise(value).casefold() not in found.casefold()
    assert "[" in found


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
@given(local=st.text(alphabet=string.ascii_letters + string.digits + ".-+_'", min_size=8, max_size=40))
def test_a_known_address_does_not_survive(disguise: Callable[[str], str], local: str) -> None:
    """A mailbox that is known is masked in every form in which it may come back."""
    address = f"{local}@contoso.example"
    found = Redactor([Address(address)])(f"550 5.1.1 <{disguise(address)}> user unknown")
    assert disguise(address).casefold() not in found.casefold()


@given(value=SECRETS, before=st.text(max_size=9), after=st.text(max_size=9))
def test_a_secret_inside_of_longer_base64_does_not_survive(value: str, before: str, after: str) -> None:
    """A SASL response holds the secret between other bytes, in one of three positions: none lets it be read."""
    said = b64(f"{before}{value}{after}")
    found = Redactor([Secret(value)])(f"334 {said}")
    readable = "".join(
        base64.b64decode(piece + "=" * (-len(piece) % 4)).decode("latin-1")
        for piece in re.findall(r"[A-Za-z0-9+/]{8,}", found)
        if len(piece) % 4 != 1
    )
    assert value not in readable
    assert said not in found


def test_an_unknown_token_does_not_survive() -> None:
    """A JSON Web Token is masked by its shape, also where something is glued to it."""
    for said in (JWT, f"Bearer {JWT}", f"auth={JWT}", f"x_{JWT}", f"({JWT})", JWT.rpartition(".")[0]):
        found = Redactor()(f"token {said} refused")
        assert "eyJ" not in found
        assert found.startswith("token ")
        assert found.endswith(" refused")


@pytest.mark.parametrize(
    "address",
    ["mara.vogel@fabrikam.example", "MARA@localhost", "m+tag@a-b.example", "o'neil@x.example", "jörg@bücher.example"],
)
def test_an_unknown_address_does_not_survive(address: str) -> None:
    """An address that a server echoes is masked by its shape, as it is and in a URL; the sentence stays."""
    for said in (address, quote(address, safe="+") if address.isascii() else address):
        assert "550 5.1.1 <[address]>: User unknown" == Redactor()(f"550 5.1.1 <{said}>: User unknown")


def test_long_base64_does_not_survive_and_ids_do() -> None:
    """A long word of base64 is masked; GUIDs and Exchange's session ids are needed by support and stay."""
    ids = "[SN2PR00CA0018.namprd00.prod.outlook.com 2026-03-20T10:27:56.998Z 08DC48BEE95C08E5]"
    guid = "3fd2b7a9-0000-4000-8000-000000000001"
    assert f"{ids} {guid} [base64]" == Redactor()(f"{ids} {guid} {b64('x' * 60)}")


@pytest.mark.parametrize("length", range(7960, 8000))
def test_a_secret_that_is_cut_off_does_not_show_its_half(length: int) -> None:
    """Only the beginning of a huge text is read: a secret across that border shows nothing of itself."""
    said = b64("y" * 6000)[:length] + f" {SECRET} {SECRET}"
    assert SECRET[:4] not in Redactor([Secret(SECRET)])(said)


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=300))
def test_text_is_bounded_printable_and_on_one_line(text: str) -> None:
    """Whatever was said, the result is one line, can be encoded, and carries no control or direction mark."""
    found = Redactor([Secret(SECRET), Address(ADDRESS)])(text)
    assert len(found) <= 3 * len(text)  # at worst `a@b` becomes `[address]`
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", found)
    assert found == found.encode().decode()


@given(st.text(alphabet=f"{string.ascii_letters}@.=-_ ß", max_size=50), st.integers(20, 400))
def test_huge_text_is_cut(text: str, times: int) -> None:
    """Evidence keeps at most `MAX_TEXT` characters, and a cut text says so."""
    assume(len(text) > 2)
    found = Redactor()(text * times)
    assert len(found) <= MAX_TEXT
    assert len(text) * times <= MAX_TEXT or found.endswith("…") or len(found) < MAX_TEXT


@given(
    st.lists(st.sampled_from([SECRET, ADDRESS, JWT, b64(SECRET * 3), quote(SECRET), "a@b", " ", "\n", "=", "x", "ß"]))
)
def test_redacting_twice_changes_nothing(parts: list[str]) -> None:
    """What is redacted stays as it is when it is redacted again, on its way through another layer."""
    redact = Redactor([Secret(SECRET), Address(ADDRESS)])
    assert redact("".join(parts)) == redact(redact("".join(parts)))


def test_what_is_harmless_stays() -> None:
    """A server's sentence is kept word by word: it is the evidence."""
    said = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox."
    assert said == Redactor([Secret(SECRET), Address(ADDRESS)])(said)


def test_what_is_learned_later_is_hidden_too() -> None:
    """A value that is learned after a text was looked at is hidden in the next one, beside those known before."""
    redact = Redactor([Address(ADDRESS)])
    assert f"[address] {SECRET}" == redact(f"{ADDRESS} {SECRET}")
    redact.learn(Secret(SECRET))
    assert "[address] [secret]" == redact(f"{ADDRESS} {SECRET}")


def test_an_empty_secret_is_nothing_to_hide() -> None:
    """An empty value, which stands everywhere, is not learned."""
    assert "as it was" == Redactor([Secret(""), Address("")])("as it was")


@pytest.mark.parametrize("unit", ["a.b", "eyJ", "a@", "@", "a%40", "%", "eyJaaaaaaaaa.", "A" * 63 + " ", "=", "ß"])
def test_hostile_text_is_read_once(monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
    """No text makes the redactor search the same characters again and again, which would hold up every other probe.

    With the bound on what is read lifted, searching anew from each character would take a minute instead of 50 ms.
    """
    monkeypatch.setattr(secret, "MAX_READ", 200_000)
    redact = Redactor([Secret(SECRET), Address(ADDRESS)])
    before = time.process_time()
    redact(unit * (200_000 // len(unit)))
    assert time.process_time() - before < 5
