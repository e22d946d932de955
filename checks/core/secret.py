"""Values that show nowhere: secrets and mailbox addresses, and the redaction of what others said.

A `Secret` or an `Address` prints as a mask wherever it goes (str, repr, format, pickle is refused); only `reveal()`
gives the value, so every place that shows one can be found by that word. A `Redactor` does the same for text that comes
from the other side: what we know to be private is replaced by name, and what merely looks private by its shape.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote, quote_plus

MASK = "***"

# All shapes are matched from the start of a run of their characters and never from its middle (the look-behinds), and no
# run is tried twice: foreign text of any sort costs time in proportion to its length.
#
# A JSON Web Token (RFC 7519): two or three base64url parts, the first of which starts with `{"` = `eyJ`. What is glued
# to its front goes with it.
_JWT = re.compile(r"(?<![\w-])(?=[\w-]*?eyJ[\w-]{8})[\w-]++\.[\w-]+(?:\.[\w-]*)?")
# Any long run of base64 or base64url: SASL responses (RFC 4954), assertions, keys. Real texts have no such words; GUIDs
# (36 characters with dashes) and message ids stay below it.
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{64,}={0,2}")
_MIN_BASE64 = 64
# What RFC 5321 calls a Mailbox, loosely: enough to hide every address that a server may echo, also one in a URL.
_LOCAL = r"[\w.!#$%&'*+/=?^`{|}~-]"
_DOMAIN = r"[\w-]+(?:\.[\w-]+)*"
_ADDRESS = re.compile(rf"(?<!{_LOCAL}){_LOCAL}++@{_DOMAIN}(?:{_LOCAL}*+@{_DOMAIN})*")
_ADDRESS_IN_URL = re.compile(r"(?<![\w.+%'~-])(?=[\w.+%'~-]*?%40)[\w.+%'~-]++")
# C0 and C1 controls, separators, invisible and bidirectional marks (Unicode TR 36, "Bidirectional Text Spoofing"): they
# could rewrite a terminal, forge a line of a log, or split a value so that it is not known again.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")

MAX_TEXT = 1000  # characters of foreign text that evidence keeps: the longest known reply of Exchange Online has 600
MAX_READ = 8 * MAX_TEXT  # characters of foreign text that are looked at
_MAX_ADDRESS = 320  # RFC 5321, section 4.5.3.1: 64 for the local part, the @, 255 for the domain
_MIN_INNER = 8  # the shortest piece of base64 that is taken for a known value; a shorter one occurs by chance


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that must never show. Two secrets are equal when their values are."""

    _value: str

    def reveal(self) -> str:
        """The value itself, for the one who must speak it."""
        return self._value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be copied into a pickle")


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A mailbox address. It prints as a mask that keeps the domain, which is no person's name: `***@contoso.example`."""

    _value: str

    def reveal(self) -> str:
        """The address itself, for the server and for places that the configuration allows."""
        return self._value

    @property
    def domain(self) -> str:
        """The part behind the last `@`; empty for what is no address."""
        _, at, domain = self._value.rpartition("@")
        return domain if at else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __str__(self) -> str:
        return f"{MASK}@{self.domain}"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Redactor:
    """Makes foreign text fit to be kept: known values masked, look-alikes masked, controls gone, length bounded."""

    __slots__ = ("_private", "_worked_out")

    def __init__(self, private: Iterable[Secret | Address] = ()) -> None:
        self._private = frozenset(private)
        self._worked_out: tuple[frozenset[Secret | Address], tuple[tuple[str, str], ...]] = frozenset(), ()

    def learn(self, value: Secret | Address) -> None:
        """From now on hide this value, also in its base64 and URL-encoded forms, and inside of longer base64."""
        self._private |= {value}

    def _known(self) -> tuple[tuple[str, str], ...]:
        """What to look for and what to show for it: worked out when there is text, which most runs never have."""
        private, known = self._worked_out
        if private is not self._private:
            private = self._private  # kept beside what was made of it: another thread may learn in the meantime
            found = {
                (form.casefold(), "[secret]" if isinstance(value, Secret) else "[address]")
                for value in private
                for form in _forms(value.reveal())
            }
            # The longest first: a form may be part of another one.
            known = tuple(sorted(found, key=lambda item: (-len(item[0]), item)))
            self._worked_out = private, known
        return known

    def __call__(self, text: str) -> str:
        """The text without anything private, on one line, at most `MAX_TEXT` characters."""
        cut = len(text) > MAX_READ
        # Bytes that were no UTF-8 arrive as lone surrogates (PEP 383) and would break every encoder further on.
        text = text[:MAX_READ].encode("utf-8", "replace").decode()
        text = _CONTROL.sub(" ", text)
        folded = text.casefold()
        known = self._known()
        for needle, shown in known:
            if needle in folded:
                text = _replace_folded(text, folded, needle, shown)
                folded = text.casefold()
        text = _JWT.sub("[token]", text)
        text = _ADDRESS.sub("[address]", text)
        text = _ADDRESS_IN_URL.sub("[address]", text)
        text = _BASE64.sub("[base64]", text)
        if cut:  # the end may be the first half of something private, which nobody would know again
            longest = len(known[0][0]) if known else 0
            text = text[: -max(_MAX_ADDRESS, longest)]
        return text if len(text) <= MAX_TEXT and not cut else text[: MAX_TEXT - 1] + "…"


def _forms(plain: str) -> Iterator[str]:
    """A value as it may come back: as it is, in a URL, in base64, and what of it shows inside a longer base64 text.

    Three bytes become four characters, so there are three ways in which a value can lie in base64 (RFC 4648, section
    4); the characters at both ends also hold bits of its neighbours and are left out. Long base64 hides by its shape.
    """
    if not plain:
        return
    data = plain.encode("utf-8", "replace")
    whole = base64.b64encode(data).decode().rstrip("=")
    yield from (plain, quote(data), quote(data, safe=""), quote_plus(data), whole, quote(whole, safe=""))
    for before in range(3) if len(whole) < _MIN_BASE64 else ():
        inner = base64.b64encode(bytes(before) + data).decode()[4 * (before > 0) : (before + len(data)) // 3 * 4]
        if len(inner) >= _MIN_INNER:
            yield inner
            yield inner.translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")


def _replace_folded(text: str, folded: str, needle: str, shown: str) -> str:
    """Replace without regard to case; a regular expression would have to be compiled for each secret."""
    if len(folded) != len(text):  # a character that folds to several (such as the German sharp s): positions differ
        return folded.replace(needle, shown)
    parts: list[str] = []
    start = 0
    while (at := folded.find(needle, start)) >= 0:
        parts += [text[start:at], shown]
        start = at + len(needle)
    return "".join([*parts, text[start:]])
