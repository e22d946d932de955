"""The world that the daemon's tests watch, and a Prometheus to watch the daemon."""

from __future__ import annotations

from tests.daemon.conftest import file, hr_certificate, office, prometheus, signing_key

__all__ = ["file", "hr_certificate", "office", "prometheus", "signing_key"]
