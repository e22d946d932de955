"""What users let apps do in their name: device codes they were asked with, and the refresh tokens that came of it.

Entra ID replaces a refresh token on each use and leaves the old one good (Microsoft, "Refresh tokens in the Microsoft
identity platform"). This is what happens in the world, so it is kept beside what is declared.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from monitor.sim.refusals import refused

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.sim.records import App
    from monitor.sim.world import World

CODE_LIFE_S = 900  # Microsoft, "Device authorization grant"
_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXYZ23456789"
_CODE_LENGTH = 9
_MEMORY = 10_000  # refresh tokens and device codes that are remembered


@dataclass(frozen=True, slots=True)
class Consent:
    """What a user lets an app do, since when."""

    client_id: str
    user: str
    resource: str
    scopes: tuple[str, ...]
    given_at: datetime


@dataclass(slots=True)
class DeviceCode:
    """One attempt to sign in: a code that a user types somewhere else, or does not."""

    client_id: str
    user_code: str
    resource: str
    scopes: tuple[str, ...]
    ends_at: datetime
    user: str | None = None
    declined: bool = False


class Consents:
    """All of them. `interval_s` is how long clients shall wait between two questions: Entra ID says five seconds."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens: OrderedDict[str, Consent] = OrderedDict()
        self._codes: OrderedDict[str, DeviceCode] = OrderedDict()
        self.interval_s = 5

    def begin(self, app: App, resource: str, scopes: tuple[str, ...]) -> tuple[str, DeviceCode]:
        """A new device code, and what is known of it."""
        user_code = "".join(self._world.rng.choices(_CODE_LETTERS, k=_CODE_LENGTH))
        ends_at = self._world.now() + timedelta(seconds=CODE_LIFE_S)
        code = DeviceCode(app.client_id, user_code, resource, scopes, ends_at)
        device_code = self._secret("DAQ")
        _remember(self._codes, device_code, code)
        return device_code, code

    def sign_in(self, user_code: str, user: str) -> None:
        """A user types the code and consents. `KeyError` for a code that was not given out."""
        self._asked(user_code).user = user

    def decline(self, user_code: str) -> None:
        """A user types the code and says no. `KeyError` likewise."""
        self._asked(user_code).declined = True

    def waiting(self) -> list[str]:
        """The user codes that nobody has typed yet, the oldest first."""
        return [code.user_code for code in self._codes.values() if code.user is None and not code.declined]

    def by_code(self, app: App, device_code: str) -> Consent:
        """What a device code has come to; `Refused` while it has not."""
        code = self._codes.get(device_code)
        if code is None or code.client_id != app.client_id:
            raise refused(70018)
        if self._world.now() > code.ends_at:
            raise refused(70019)
        if code.declined:
            raise refused(65004)
        if code.user is None:
            raise refused(70016)
        del self._codes[device_code]
        return Consent(app.client_id, code.user, code.resource, code.scopes, self._world.now())

    def by_token(self, app: App, token: str) -> Consent:
        """What a refresh token stands for; `Refused` when it is not good any more."""
        consent = self._tokens.get(token)
        if consent is None or consent.client_id != app.client_id:
            raise refused(9002313)
        now = self._world.now()
        if now >= consent.given_at + app.refresh_life:
            raise refused(700082, issued=consent.given_at.isoformat(), life=str(app.refresh_life))
        user = self._world.mailbox(consent.user)
        revoked_at = user.sessions_revoked_at if user else None
        if revoked_at is not None and consent.given_at <= revoked_at:
            raise refused(50173, issued=consent.given_at.isoformat(), valid_from=revoked_at.isoformat())
        return consent

    def knows(self, token: str) -> bool:
        """Whether it is a refresh token that was given out."""
        return token in self._tokens

    def give_token(self, consent: Consent) -> str:
        """A new refresh token."""
        token = self._secret("1.AXoA")
        _remember(self._tokens, token, consent)
        return token

    def _secret(self, prefix: str) -> str:
        return prefix + self._world.rng.randbytes(96).hex()

    def _asked(self, user_code: str) -> DeviceCode:
        for code in self._codes.values():
            if code.user_code == user_code:
                return code
        raise KeyError(user_code)


def _remember(memory: OrderedDict[str, Consent] | OrderedDict[str, DeviceCode], key: str, value: object) -> None:
    memory[key] = value  # type: ignore[assignment]  # each caller has one of the two
    if len(memory) > _MEMORY:
        memory.popitem(last=False)
