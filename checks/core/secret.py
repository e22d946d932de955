"""Values that show nowhere: secrets and mailbox addresses, and the redaction of what others said.

A `Secret` or an `Address` prints as a mask wherever it goes (str, repr, format, pickle is refused); only `reveal()`
gives the value, so every place that shows one can be found by that word. A `Redactor` does the same for text that comes
from the other side: what we know to be private is replaced by name, and what merely looks private by its shape.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import quote, quote_plus

MASK = "***"

# A JSON Web Token (RFC 7519): two or three base64url parts, the first of which starts with `{"` = `eyJ`.
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?")
# Any long run of base64 or base64url: SASL responses (RFC 4954), assertions, keys. Real texts have no such words; GUIDs
# (36 characters with dashes) and message ids stay below it.
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
# What RFC 5321 calls a Mailbox, loosely: enough to hide every address that a server may echo.
_ADDRESS = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+")
# C0 and C1 controls: they could rewrite a terminal or forge a line of a log.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

MAX_TEXT = 1000  # characters of foreign text that evidence keeps: the longest known reply of Exchange Online has 600


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
        """The part behind the last `@`."""
        return self._value.rpartition("@")[2]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    def __str__(self) -> str:
        return f"{MASK}@{self.domain}"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Redactor:
    """Makes foreign text fit to be kept: known values masked, look-alikes masked, controls gone, length bounded."""

    __slots__ = ("_known",)

    def __init__(self, private: Iterable[Secret | Address] = ()) -> None:
        self._known: tuple[tuple[str, str], ...] = ()
        for value in private:
            self.learn(value)

    def learn(self, value: Secret | Address) -> None:
        """From now on hide this value, also in its base64 and URL-encoded forms."""
        shown = "[secret]" if isinstance(value, Secret) else "[address]"
        plain = value.reveal()
        if not plain:
            return
        encoded = base64.b64encode(plain.encode()).decode().rstrip("=")
        forms = {plain, encoded, quote(plain, safe=""), quote_plus(plain)}
        found = {*self._known, *((form.casefold(), shown) for form in forms)}
        self._known = tuple(sorted(found, key=lambda item: (-len(item[0]), item)))

    def __call__(self, text: str) -> str:
        """The text without anything private, on one line, at most `MAX_TEXT` characters."""
        # Bytes that were no UTF-8 arrive as lone surrogates (PEP 383) and would break every encoder further on.
        text = text[: 8 * MAX_TEXT].encode("utf-8", "replace").decode()
        text = _CONTROL.sub(" ", text)
        for needle, shown in self._known:
            text = _replace_folded(text, needle, shown)
        text = _JWT.sub("[token]", text)
        text = _ADDRESS.sub("[address]", text)
        text = _BASE64.sub("[base64]", text)
        return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _replace_folded(text: str, needle: str, shown: str) -> str:
    """Replace without regard to case; a regular expression would have to be compiled for each secret."""
    folded = text.casefold()
    if needle not in folded:
        return text
    if len(folded) != len(text):  # a character that folds to several (such as the German sharp s): positions differ
        return re.sub(re.escape(needle), shown, folded)
    parts: list[str] = []
    start = 0
    while (at := folded.find(needle, start)) >= 0:
        parts += [text[start:at], shown]
        start = at + len(needle)
    return "".join([*parts, text[start:]])
