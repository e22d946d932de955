"""The world of the daemon's tests, for the commands."""

from __future__ import annotations

from tests.daemon.conftest import file, hr_certificate, office, signing_key

__all__ = ["file", "hr_certificate", "office", "signing_key"]
