"""IMAP: the dialogue, command by command, of Exchange Online and of a provider outside Microsoft 365.

Exchange's greetings, capabilities and sentences were seen in transcripts of outlook.office365.com from 2015 to September
2026 (MailKit's issues 460, 1282, 1494 and 1496; node-imap's 523 and 874; imapsync's 198 and 272; ImapEngine's 109). Who is
let in is decided in `access`; what commands say and do is in `imap_syntax`, `imap_items` and `imap_folder`.

Every reply goes through `Session._say` with the phase it belongs to; that is the one place where faults bite. Not
rebuilt, and not offered: IDLE, MOVE, COPY, APPEND and the making of folders.
"""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from monitor.sim.access import Grant, admit, admit_foreign, opened
from monitor.sim.imap_folder import OpenFolder
from monitor.sim.imap_syntax import LINE_LIMIT, Malformed, parse, read_command, words
from monitor.sim.records import IMAP_ROLE, IMAP_SCOPE
from monitor.sim.submission import read_xoauth2
from monitor.sim.wire import Gone, TooLong, misbehave

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

    from monitor.sim.access import Visitor
    from monitor.sim.imap_syntax import Argument
    from monitor.sim.mail import Folder, Store
    from monitor.sim.tokens import Mint
    from monitor.sim.wire import Wire
    from monitor.sim.world import World

SERVER = "imap"
PARTNER = "partner_imap"
GRANT = Grant(IMAP_ROLE, IMAP_SCOPE)
IDLE_S = 1800.0  # the least that a server must wait for a command (RFC 3501, 5.4)

NOT_CONNECTED = "BAD User is authenticated but not connected."
THROTTLED = "BAD Request is throttled. Suggested Backoff Time: {} milliseconds"
UNAVAILABLE = "NO Server Unavailable. 15"
BASIC_DISABLED = "NO Basic authentication is disabled."
SIGNING_OFF = "* BYE Microsoft Exchange Server IMAP4 server signing off."
WRONG_STATE = "BAD Command received in Invalid state."
UNKNOWN = "BAD Command Error. 10"
WRONG_ARGUMENT = "BAD Command Argument Error. 11"

_HAS_NO_CHILDREN = "\\HasNoChildren"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a server presents itself: its greeting, what it offers before and after the log-on, which log-ons it knows."""

    greeting: str
    before: str
    after: str
    tokens: bool
    passwords: bool


EXCHANGE = Manner(
    greeting="Microsoft Exchange IMAP4 service ready. [{host}]",
    before="IMAP4 IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED SASL-IR UIDPLUS ID UNSELECT CHILDREN NAMESPACE LITERAL+",
    after="IMAP4 IMAP4rev1 AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CLIENTACCESSRULES CLIENTNETWORKPRESENCELOCATION "
    "BACKENDAUTHENTICATE CHILDREN NAMESPACE LITERAL+",
    tokens=True,
    passwords=False,
)
OLD_EXCHANGE = Manner(  # until 2026
    greeting="The Microsoft Exchange IMAP4 service is ready. [{host}]",
    before="IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN NAMESPACE LITERAL+",
    after="IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CLIENTACCESSRULES "
    "CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE CHILDREN NAMESPACE LITERAL+",
    tokens=True,
    passwords=False,
)
FOREIGN = Manner(
    greeting="partner.example IMAP4rev1 ready",
    before="IMAP4rev1 LITERAL+ ID UIDPLUS",
    after="IMAP4rev1 LITERAL+ ID UIDPLUS UNSELECT CHILDREN NAMESPACE SPECIAL-USE",
    tokens=False,
    passwords=True,
)


class Imap:
    """An IMAP server with TLS from the first byte: hands every connection to a session."""

    def __init__(
        self, world: World, mint: Mint, context: Callable[[], ssl.SSLContext], *, server: str, manner: Manner
    ) -> None:
        self.world = world
        self.mint = mint
        self.server = server
        self.manner = manner
        self._context = context

    async def serve(self, wire: Wire, sock: socket.socket) -> None:
        """One connection, from the handshake to its end."""
        await wire.accept_tls(sock, self._context(), self.world.wire_fault(self.server, "tls"))
        await Session(self, wire).run()


class Session:
    """One IMAP session."""

    def __init__(self, imap: Imap, wire: Wire) -> None:
        self._server = imap.server
        self._manner = imap.manner
        self._world = imap.world
        self._mint = imap.mint
        self._wire = wire
        self._visitor: Visitor | None = None
        self._turned_away = 0
        self._folder: OpenFolder | None = None
        anytime, before, selected = ("before", "after", "selected"), ("before",), ("selected",)
        after = ("after", "selected")
        self._commands: dict[str, tuple[tuple[str, ...], Callable[[str, bytes], Awaitable[None]]]] = {
            "CAPABILITY": (anytime, self._capability),
            "NOOP": (anytime, self._noop),
            "ID": (anytime, self._id),
            "LOGOUT": (anytime, self._logout),
            "AUTHENTICATE": (before, self._authenticate),
            "LOGIN": (before, self._login),
            "NAMESPACE": (after, self._namespace),
            "LIST": (after, self._list),
            "STATUS": (after, self._status),
            "SELECT": (after, self._select),
            "EXAMINE": (after, self._examine),
            "CHECK": (selected, self._noop),
            "CLOSE": (selected, self._close),
            "UNSELECT": (selected, self._unselect),
            "EXPUNGE": (selected, self._expunge),
            "UID EXPUNGE": (selected, self._uid_expunge),
            **{f"{uid}SEARCH": (selected, partial(self._search, by_uid=bool(uid))) for uid in ("", "UID ")},
            **{f"{uid}FETCH": (selected, partial(self._fetch, by_uid=bool(uid))) for uid in ("", "UID ")},
            **{f"{uid}STORE": (selected, partial(self._store, by_uid=bool(uid))) for uid in ("", "UID ")},
        }

    async def run(self) -> None:
        """Greet, then obey until one side leaves (`Gone`)."""
        host = base64.b64encode("SIM.EURPRD10.PROD.OUTLOOK.COM".encode("utf-16-le")).decode()
        try:
            await self._say("banner", f"* OK {self._manner.greeting.format(host=host)}")
            while True:
                async with asyncio.timeout(IDLE_S):
                    command = await read_command(self._wire, self._go_ahead)
                await self._obey(command)
        except TooLong:
            await self._say("", "* BYE Connection closed. 10")
        except TimeoutError:
            await self._say("", "* BYE Connection is closed. 13")

    async def _go_ahead(self) -> None:
        await self._say("", "+ Ready for additional command text.")

    async def _say(self, phase: str, *lines: str | bytes) -> bool:
        """Reply, or do what a fault of this phase wants instead. False: the client was told something else."""
        proper = b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines)
        fault = self._world.wire_fault(self._server, phase) if phase else None
        if fault is None:
            await self._wire.send(proper)
            return True
        return await misbehave(self._wire, fault, proper)

    async def _obey(self, command: bytes) -> None:
        tag, _, rest = command.decode("latin-1").partition(" ")
        verb, _, arguments = rest.strip().partition(" ")
        name = verb.upper()
        if name == "UID":
            verb, _, arguments = arguments.partition(" ")
            name = f"UID {verb.upper()}"
        states, run = self._commands.get(name, ((), None))
        state = "before" if self._visitor is None else "after" if self._folder is None else "selected"
        if not tag or run is None:
            await self._say("", f"{tag or '*'} {UNKNOWN}")
        elif state not in states:
            await self._say("", f"{tag} {WRONG_STATE}")
        elif "before" not in states and (trouble := self._trouble()):
            await self._turn_away(tag, trouble)
        else:
            if state == "selected" or "before" not in states:
                self._mailbox.settle(self._world.now())
            try:
                await run(tag, arguments.strip().encode("latin-1"))
            except Malformed:
                await self._say("", f"{tag} {WRONG_ARGUMENT}")

    def _trouble(self) -> str | None:
        """What keeps the visitor from the mailbox at this moment."""
        mailbox = opened(self._world, self._visitor) if self._visitor else None
        if mailbox is None or not mailbox.imap_enabled:
            return NOT_CONNECTED
        return None if mailbox.imap_backoff_ms is None else THROTTLED.format(mailbox.imap_backoff_ms)

    async def _turn_away(self, tag: str, trouble: str) -> None:
        """Refuse a command. Who is not connected and tries a second time is thrown out, as transcripts show."""
        await self._say("", f"{tag} {trouble}")
        self._turned_away += trouble == NOT_CONNECTED
        if self._turned_away > 1:
            await self._say("", "* BYE Connection closed. 14")
            raise Gone

    async def _capability(self, tag: str, _: bytes) -> None:
        offered = self._manner.before if self._visitor is None else self._manner.after
        if self._world.has_wire_fault(self._server, "no_xoauth2"):
            offered = offered.replace("AUTH=XOAUTH2 ", "")
        await self._say("capability", f"* CAPABILITY {offered}", f"{tag} OK CAPABILITY completed.")

    async def _id(self, tag: str, _: bytes) -> None:
        await self._say("capability", "* ID NIL", f"{tag} OK ID completed.")

    async def _noop(self, tag: str, _: bytes) -> None:
        news = self._folder.news() if self._folder else []
        await self._say("", *news, f"{tag} OK NOOP completed.")

    async def _logout(self, tag: str, _: bytes) -> None:
        if await self._say("quit", SIGNING_OFF, f"{tag} OK LOGOUT completed."):
            raise Gone

    async def _authenticate(self, tag: str, arguments: bytes) -> None:
        mechanism, _, encoded = arguments.partition(b" ")
        offered = self._manner.tokens and not self._world.has_wire_fault(self._server, "no_xoauth2")
        if mechanism.upper() == b"PLAIN" and not self._manner.passwords:
            await self._refuse_password(tag, "AUTHENTICATE")
            return
        if mechanism.upper() != b"XOAUTH2" or not offered:
            raise Malformed
        if not encoded:
            await self._wire.send(b"+ \r\n")
            async with asyncio.timeout(IDLE_S):
                encoded = await self._wire.line(LINE_LIMIT)
        bearer = read_xoauth2(encoded)
        visitor = admit(self._world, self._mint, bearer, GRANT) if bearer else None
        if self._world.has_wire_fault(self._server, "unavailable"):
            await self._say("auth", f"{tag} {UNAVAILABLE}")
        elif visitor is None:
            await self._say("auth", f"{tag} NO AUTHENTICATE failed.")
        elif await self._say("auth", f"{tag} OK AUTHENTICATE completed."):
            self._visitor = visitor

    async def _login(self, tag: str, arguments: bytes) -> None:
        given = words(parse(arguments))
        if len(given) != 2:  # noqa: PLR2004  a name and a password
            raise Malformed
        if not self._manner.passwords:
            await self._refuse_password(tag, "LOGIN")
            return
        visitor = admit_foreign(self._world, *given)
        if visitor is None:
            await self._say("auth", f"{tag} NO [AUTHENTICATIONFAILED] Invalid credentials")
        elif await self._say("auth", f"{tag} OK LOGIN completed."):
            self._visitor = visitor

    async def _refuse_password(self, tag: str, verb: str) -> None:
        """Passwords are refused before any mailbox is looked up; since 2026 the connection is closed with it."""
        if "LOGINDISABLED" not in self._manner.before:
            await self._say("auth", f"{tag} NO {verb} failed.")
        elif await self._say("auth", f"{tag} {BASIC_DISABLED}", SIGNING_OFF):
            raise Gone

    async def _namespace(self, tag: str, _: bytes) -> None:
        await self._say("list", '* NAMESPACE (("" "/")) NIL NIL', f"{tag} OK NAMESPACE completed.")

    async def _list(self, tag: str, arguments: bytes) -> None:
        """The folders, with their special use whether it was asked for or not, as Exchange does it."""
        given = parse(arguments)
        if given[:1] and isinstance(given[0], list):  # LIST (SPECIAL-USE) "" "*" (RFC 6154, 3)
            given = given[1:]
        reference, pattern = words(given[:2]) if len(given) > 1 else ("", None)
        if pattern is None:
            raise Malformed
        # No folder lies in another one, so that both wildcards mean the same, and many in a row mean one.
        parts = re.split(r"[*%]+", reference + pattern)
        wanted = re.compile(".*".join(map(re.escape, parts)), re.IGNORECASE)
        found = [one for one in self._mailbox.folders.values() if wanted.fullmatch(one.name)]
        lines = [f'* LIST ({_HAS_NO_CHILDREN}{one.use and " " + one.use}) "/" {_named(one.name)}' for one in found]
        await self._say("list", *lines, f"{tag} OK LIST completed.")

    async def _status(self, tag: str, arguments: bytes) -> None:
        given = parse(arguments)
        if len(given) != 2 or not isinstance(given[1], list):  # noqa: PLR2004  a name and a list of items
            raise Malformed
        folder = self._folder_named(given[:1])
        if folder is None:
            await self._say("list", f"{tag} {_missing(given)}")
            return
        values = {
            "MESSAGES": len(folder.messages),
            "RECENT": 0,
            "UIDNEXT": folder.uidnext,
            "UIDVALIDITY": folder.uidvalidity,
            "UNSEEN": sum("\\Seen" not in message.flags for message in folder.messages.values()),
        }
        try:
            items = " ".join(f"{name.upper()} {values[name.upper()]}" for name in words(given[1]))
        except KeyError as error:
            raise Malformed from error
        await self._say("list", f"* STATUS {_named(folder.name)} ({items})", f"{tag} OK STATUS completed.")

    async def _select(self, tag: str, arguments: bytes) -> None:
        await self._open(tag, arguments, "SELECT", read_only=False)

    async def _examine(self, tag: str, arguments: bytes) -> None:
        await self._open(tag, arguments, "EXAMINE", read_only=True)

    async def _open(self, tag: str, arguments: bytes, verb: str, *, read_only: bool) -> None:
        given = parse(arguments)
        if len(given) != 1:
            raise Malformed
        self._folder = None
        folder = self._folder_named(given)
        if folder is None:
            await self._say("open", f"{tag} {_missing(given)}")
            return
        self._folder = OpenFolder(folder, read_only=read_only)
        access = "READ-ONLY" if read_only else "READ-WRITE"
        await self._say("open", *self._folder.opening(), f"{tag} OK [{access}] {verb} completed.")

    async def _close(self, tag: str, _: bytes) -> None:
        if not self._open_folder.read_only:
            self._open_folder.expunge()
        self._folder = None
        await self._say("", f"{tag} OK CLOSE completed.")

    async def _unselect(self, tag: str, _: bytes) -> None:
        self._folder = None
        await self._say("", f"{tag} OK UNSELECT completed.")

    async def _search(self, tag: str, arguments: bytes, *, by_uid: bool) -> None:
        lines = self._open_folder.search(arguments, by_uid=by_uid)
        await self._say("search", *lines, f"{tag} OK SEARCH completed.")

    async def _fetch(self, tag: str, arguments: bytes, *, by_uid: bool) -> None:
        lines = self._open_folder.fetch(arguments, by_uid=by_uid)
        await self._say("fetch", *lines, f"{tag} OK FETCH completed.")

    async def _store(self, tag: str, arguments: bytes, *, by_uid: bool) -> None:
        if self._open_folder.read_only:
            await self._say("clean", f"{tag} NO Mailbox is read-only.")
            return
        lines = self._open_folder.store(arguments, by_uid=by_uid)
        await self._say("clean", *lines, f"{tag} OK STORE completed.")

    async def _expunge(self, tag: str, _: bytes) -> None:
        await self._remove(tag, None)

    async def _uid_expunge(self, tag: str, chosen: bytes) -> None:
        await self._remove(tag, chosen)

    async def _remove(self, tag: str, chosen: bytes | None) -> None:
        if self._open_folder.read_only:
            await self._say("clean", f"{tag} NO Mailbox is read-only.")
            return
        await self._say("clean", *self._open_folder.expunge(chosen), f"{tag} OK EXPUNGE completed.")

    @property
    def _open_folder(self) -> OpenFolder:
        if self._folder is None:  # the state of the session has seen to that
            raise Malformed
        return self._folder

    @property
    def _mailbox(self) -> Store:
        if self._visitor is None:  # likewise
            raise Malformed
        return self._world.store(self._visitor.address)

    def _folder_named(self, given: Sequence[Argument]) -> Folder | None:
        return self._mailbox.folder(words(given)[0])


def _missing(given: Sequence[Argument]) -> str:
    name = " ".join(words(given[:1])[0].split())  # whatever was in it, the answer is one line
    return f"NO {name} doesn't exist."


def _named(name: str) -> str:
    return f'"{name}"' if " " in name else name
