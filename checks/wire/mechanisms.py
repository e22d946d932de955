"""Names of SASL mechanisms, out of what a server offers."""

from __future__ import annotations

import re
from collections.abc import Iterable

# RFC 4422, section 3.1: 1 to 20 upper-case letters, digits, dashes and underscores.
_NAME = re.compile(r"[A-Z0-9_-]{1,20}").fullmatch
# IANA knows about fifty; servers offer up to ten.
MAX_MECHANISMS = 32


def named(offered: Iterable[str]) -> tuple[str, ...]:
    """What is the name of a mechanism, sorted; anything else that stands among them could be anybody's address."""
    names = sorted({word.upper() for word in offered})
    return tuple(name for name in names if _NAME(name))[:MAX_MECHANISMS]
