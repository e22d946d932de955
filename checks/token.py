"""A cold token for one credential: a real round trip to the authority every time, never a cached answer."""

from __future__ import annotations

from checks.core.check import Check
from checks.core.kit import Kit
from checks.core.model import Phase, Protocol
from checks.core.settings import Settings
from checks.core.target import Credential
from checks.core.trace import Trace
from checks.wire.claims import peek
from checks.wire.materials import MAX_SKEW


class TokenSettings(Settings):
    """Nothing to set beside interval and timeout."""


async def run(target: Credential, _: TokenSettings, trace: Trace, kit: Kit) -> None:
    """Acquire, then look at what was given: its life, what it says of itself, and whether our clock agrees."""
    token = await kit.tokens.fresh(target, trace)
    with trace.phase(Phase.CLAIMS, Protocol.OAUTH):
        trace.measure("expires_in_seconds", token.lifetime)
        trace.learn(peek(token, trace.redact))
        skew = trace.measures.get("clock_skew_seconds", 0.0)
        if abs(skew) > MAX_SKEW:
            text = f"this host's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the authority's"
            trace.observe("clock_skew", text, phase=Phase.CLAIMS, protocol=Protocol.OAUTH)


# Every 10 minutes stays far below Entra's loop detection (15 equal requests in 5 minutes, AADSTS50196).
CHECK = Check(
    name="token",
    target="credential",
    phases=(Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.TOKEN, Phase.CLAIMS),
    settings=TokenSettings,
    interval=600.0,
    timeout=30.0,
    always=True,
    run=run,
)
