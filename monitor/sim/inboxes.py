"""Where alerts can be sent to: collects whatever is posted, so that a test or the demo can look at it."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

KEPT_POSTS = 1000  # per inbox, the latest


class Inboxes:
    """Posts by inbox name, oldest first."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._posts: dict[str, deque[dict[str, Any]]] = {}

    def add(self, name: str, body: bytes, content_type: str) -> None:
        """Keep one post; a body that is JSON is kept as what it means, any other as text."""
        try:
            content: Any = json.loads(body)
        except ValueError:
            content = body.decode("utf-8", "replace")
        post = {"at": self._now().isoformat(), "content_type": content_type, "body": content}
        self._posts.setdefault(name, deque(maxlen=KEPT_POSTS)).append(post)

    def read(self, name: str) -> list[dict[str, Any]]:
        """All posts of one inbox."""
        return list(self._posts.get(name, ()))

    def clear(self) -> None:
        """Forget everything."""
        self._posts.clear()
