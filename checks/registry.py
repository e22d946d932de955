"""The checks there are: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from checks import canary, endpoint, imap_auth, inbox, pop_auth, smtp_auth, token
from checks.core.check import Check

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        check.name: check
        for check in (
            token.CHECK,
            endpoint.CHECK,
            smtp_auth.CHECK,
            imap_auth.CHECK,
            pop_auth.CHECK,
            canary.CHECK,
            inbox.CHECK,
        )
    }
)
