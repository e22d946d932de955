"""An inbox: which canaries have arrived, when and in which folder; then they are taken out again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import Field

from checks.core.check import Check
from checks.core.kit import Kit
from checks.core.model import Folder, InboxRead, Phase, Protocol, Sighting
from checks.core.settings import Settings
from checks.core.target import Inbox
from checks.core.trace import Trace
from checks.wire import imap, imap_folder
from checks.wire.message import ID_HEADER

_IMAP = Protocol.IMAP
# What is older was reported by earlier runs, or is no canary that anybody waits for. IMAP's SINCE knows whole days only.
LOOK_BACK = timedelta(days=2)
_ID = re.compile(rb"[0-9a-f]{24}")
_SUBJECT = re.compile(rb"mailcanary ([0-9a-f]{24})")
_MESSAGE_ID = re.compile(rb"<([0-9a-f]{24})\.mailcanary@[^<>@\s]+>")


class InboxSettings(Settings):
    """Whether our own messages are taken out of Inbox, Junk and Sent Items once they are seen, and how old they get there.

    A canary is seen again until it is taken out. So it is not missed when it is found before its sender's run has ended
    (60 s at the most), when we are killed before we have noted it, or by another reader of the same inbox.
    """

    clean: bool = Field(default=True, description="Take canaries out of Inbox, Junk and Sent Items.")
    keep_seconds: int = Field(120, ge=0, le=86400, description="How long a canary stays there after its arrival.")


@dataclass(frozen=True, slots=True)
class _Read:
    """A folder that was searched: the numbers of our own messages in it that may go."""

    folder: imap_folder.Folder
    own: tuple[int, ...]
    complete: bool


async def run(target: Inbox, settings: InboxSettings, trace: Trace, kit: Kit) -> None:
    """Sign in, read Inbox and Junk, tell what was seen; only then clean up, whose failure takes nothing back."""
    token = await kit.tokens.current(target.credential, trace) if target.credential else None
    async with imap.session(target.endpoint, trace, kit, wants="xoauth2" if token else "") as session:
        if token is not None:
            await session.auth_xoauth2(target.address, token)
        elif target.password is not None:
            await session.login(target.address, target.password)
        with trace.phase(Phase.OPEN, _IMAP):
            await session.ask_capability()
            names = await imap_folder.named(session, (imap_folder.JUNK, imap_folder.SENT))
        reader = _Reader(session, target, trace, settings, kit.clock.now())
        read = [await reader.read(Folder.INBOX, imap_folder.INBOX)]
        if imap_folder.JUNK in names:
            read.append(await reader.read(Folder.JUNK, names[imap_folder.JUNK]))
        removed = 0
        try:
            if settings.clean:
                for one in read:
                    with trace.part(), trace.phase(Phase.CLEAN, _IMAP):
                        removed += await imap_folder.remove(session, one.folder, one.own)
                if imap_folder.SENT in names:
                    with trace.part(), trace.phase(Phase.CLEAN, _IMAP):
                        removed += await reader.clear(names[imap_folder.SENT])
        finally:  # also when the time is up: all was read by then
            if all(one.complete for one in read):
                trace.learn(InboxRead(inbox=target.id, removed=removed))
        if not session.lost:  # there is nobody to take leave of, and what was under way has said so
            with trace.part():
                await session.quit()


class _Reader:
    """Reads folder after folder of one inbox."""

    def __init__(
        self, session: imap.Session, target: Inbox, trace: Trace, settings: InboxSettings, now: datetime
    ) -> None:
        self._session = session
        self._target = target
        self._trace = trace
        self._since = now - LOOK_BACK
        self._clean = settings.clean
        self._kept_since = now - timedelta(seconds=settings.keep_seconds)

    async def read(self, kind: Folder, name: bytes) -> _Read:
        """Search a folder and report every canary in it."""
        session, trace = self._session, self._trace
        with trace.phase(Phase.OPEN, _IMAP):
            folder = await imap_folder.opened(session, name)
        with trace.phase(Phase.SEARCH, _IMAP):
            since = None if self._clean else self._since.date()
            uids, complete = await imap_folder.search(session, folder, since=since)
        own = []
        with trace.phase(Phase.FETCH, _IMAP):
            messages = await imap_folder.fetch(session, uids)
            for message in messages:
                canary_id = _canary_of(message.header)
                if canary_id is not None:
                    trace.learn(
                        Sighting(canary_id=canary_id, inbox=self._target.id, folder=kind, arrived_at=message.arrived_at)
                    )
                if _is_ours(message.header) and message.arrived_at <= self._kept_since:
                    own.append(message.uid)
        # What may be ours and is not (bounces, replies) stays for ever; once it is old, it has hidden nothing.
        complete = complete or any(message.arrived_at < self._since for message in messages[:1])
        if not complete:
            text = f"more than {imap_folder.MAX_FOUND} messages in {kind}: the rest waits for the next run"
            trace.observe("inbox_backlog", text, phase=Phase.SEARCH, protocol=_IMAP)
        return _Read(folder, tuple(own), complete)

    async def clear(self, name: bytes) -> int:
        """Take our messages out of a folder without a look at when they came; how many."""
        folder = await imap_folder.opened(self._session, name)
        uids, _ = await imap_folder.search(self._session, folder)
        messages = await imap_folder.fetch(self._session, uids)
        own = [message.uid for message in messages if _is_ours(message.header)]
        return await imap_folder.remove(self._session, folder, own)


def _is_ours(header: Mapping[bytes, bytes]) -> bool:
    """Whether a message may be deleted: our header with an id, or our subject and nothing but it."""
    return _marked(header) is not None


def _marked(header: Mapping[bytes, bytes]) -> str | None:
    field = header.get(ID_HEADER.lower().encode(), b"")
    if _ID.fullmatch(field):
        return field.decode()
    found = _SUBJECT.fullmatch(header.get(b"subject", b""))
    return found[1].decode() if found else None


def _canary_of(header: Mapping[bytes, bytes]) -> str | None:
    """The id of a canary, from whichever of its three places was left alone on the way.

    Consumer Outlook.com writes its own Message-ID and keeps ours in X-Microsoft-Original-Message-ID.
    """
    if (marked := _marked(header)) is not None:
        return marked
    for name in (b"message-id", b"x-microsoft-original-message-id"):
        found = _MESSAGE_ID.fullmatch(header.get(name, b""))
        if found:
            return found[1].decode()
    return None


CHECK = Check(
    name="inbox",
    target="inbox",
    phases=(
        Phase.TOKEN,
        Phase.RESOLVE,
        Phase.CONNECT,
        Phase.TLS,
        Phase.BANNER,
        Phase.EHLO,
        Phase.STARTTLS,
        Phase.AUTH,
        Phase.OPEN,
        Phase.SEARCH,
        Phase.FETCH,
        Phase.CLEAN,
        Phase.QUIT,
    ),
    settings=InboxSettings,
    # A canary is late after 5 minutes, so that a few reads lie before that.
    interval=60.0,
    timeout=60.0,
    always=True,
    run=run,
)
