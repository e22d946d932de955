"""Signing in with a device code (RFC 8628): a person goes to a page and types a code, while we ask until it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msal

from checks.core.material import RefreshToken
from checks.core.secret import Secret
from checks.wire.materials import Asking, client_options, wanted

# The authority's answers that mean: ask again (RFC 8628, section 3.5).
PENDING = frozenset({"authorization_pending", "slow_down"})
MAX_INTERVAL = 60  # seconds between two questions; Entra ID wants 5


@dataclass(slots=True)
class DeviceFlow:
    """One sign-in, step by step. Its methods run in a pool thread."""

    asking: Asking
    material: RefreshToken
    client: Any = None
    flow: dict[str, Any] = field(default_factory=dict)

    def begin(self) -> Mapping[str, Any]:
        """Ask for a code. The answer holds `user_code` and `verification_uri`, or it is a refusal."""
        client_id = self.asking.credential.app.client_id
        # MSAL has this flow for public clients only; a confidential one adds its secret to the same requests.
        self.client = msal.PublicClientApplication(client_id, **client_options(self.asking))
        self.flow = self.client.initiate_device_flow(scopes=wanted(self.material))
        if code := self.flow.get("device_code"):
            self.asking.bridge.trace.redact.learn(Secret(str(code)))
        return self.flow

    def poll(self) -> Mapping[str, Any]:
        """Ask once whether it is done."""
        secret = self.material.secret
        answer: Mapping[str, Any] = self.client.acquire_token_by_device_flow(
            self.flow,
            exit_condition=lambda _: True,  # MSAL's own loop would sleep in the thread
            data={"client_secret": secret.reveal()} if secret else {},
        )
        return answer

    @property
    def interval(self) -> int:
        """Seconds to wait before asking again; MSAL lengthens it when it is told to slow down."""
        return min(max(1, int(self.flow["interval"])), MAX_INTERVAL)
