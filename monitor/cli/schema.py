"""`mailcanary schema`: the configuration's JSON Schema, as text."""

from __future__ import annotations

import json

from checks.registry import CHECKS
from monitor.config.schema import schema_of


def schema_text() -> str:
    """The schema as it is published."""
    return json.dumps(schema_of(CHECKS), indent=2, ensure_ascii=False)
