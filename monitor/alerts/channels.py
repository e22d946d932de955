"""Sends messages by Apprise: one thread per channel, so that one that hangs delays no other.

Apprise speaks through `requests`, which trusts the system's CAs; a private CA in front of a webhook is named by
`REQUESTS_CA_BUNDLE` in the daemon's environment. It knows no proxy but that of the environment, which every child process
would inherit, password and all; so `requests` is made to ask for the proxy of the thread that sends. Apprise and its HTTP library write whole URLs, which hold secrets, to
their logs: they are kept from talking below a level, and what Apprise says above it is redacted on its way.
"""

from __future__ import annotations

import asyncio
import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from functools import wraps
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_plus, urlsplit

from checks.core.secret import Redactor, Secret
from monitor.alerts.render import Message
from monitor.model import Channel

if TYPE_CHECKING:
    from apprise import Apprise, AppriseResult

SEND_TIMEOUT_S = 15.0  # Apprise's own limits are 4 s to connect and 4 s between two bytes; mail takes the longest
_SHORTEST_SECRET = 4  # shorter parts of a URL are words such as "v1" or "bot"
# The proxy for HTTPS of the thread that asks; each sending thread is new and has a context of its own.
_PROXY: ContextVar[Secret | None] = ContextVar("alert_proxy", default=None)
_SEPARATORS = re.compile(r"[/?&=:@#,+]+")


class ChannelError(Exception):
    """Some channels can not be used: `problems` says of each (by name) why. No URL is shown."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"channel {name}: {problem}" for name, problem in problems.items()))
        self.problems = problems


class Sender(Protocol):
    """A way to send messages."""

    async def send(self, message: Message) -> str:
        """Send one message: the empty text when it was taken, else why not, redacted."""


class AppriseChannel:
    """One channel. After a time-out or a cancellation the message may still arrive: the thread can not be stopped."""

    __slots__ = ("_apprise", "_busy", "_name", "_proxy", "_redact", "_timeout")

    def __init__(self, channel: Channel, apprise: Apprise, timeout: float = SEND_TIMEOUT_S) -> None:
        self._name = channel.name
        self._apprise = apprise
        self._proxy = channel.proxy
        self._redact = Redactor(_secrets_of_channel(channel))
        self._timeout = timeout
        self._busy = False

    async def send(self, message: Message) -> str:
        """Send one message: the empty text when it was taken, else why not, redacted."""
        if self._busy:
            return "the message before is still on its way"
        self._busy = True
        answer: Future[str] = Future()
        # A daemon thread: a server that drips for hours must not keep the program from ending.
        Thread(target=self._work, args=(message, answer), name=f"alert-{self._name}", daemon=True).start()
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            return f"no answer within {self._timeout:g} s"

    def _work(self, message: Message, answer: Future[str]) -> None:
        answer.set_running_or_notify_cancel()  # from here on nobody can cancel it, so that a result can always be set
        _PROXY.set(self._proxy)
        try:
            said = self._notify(message)
        except BaseException as error:  # noqa: BLE001 - handed over to the task that waits, as an executor does
            self._busy = False
            answer.set_exception(error)
        else:
            self._busy = False
            answer.set_result(said)

    def _notify(self, message: Message) -> str:
        result = self._apprise.notify(
            title=message.title, body=message.body, body_format="text", notify_type=message.tone.value
        )
        return "" if result else self._redact(_reason(result))


def open_channels(channels: Iterable[Channel], timeout: float = SEND_TIMEOUT_S) -> dict[str, AppriseChannel]:
    """A sender for each channel, by name. Raises `ChannelError` about all that can not be used.

    The first channel loads Apprise and all its plugins: 0.3 s and 50 MB. `timeout` (seconds) bounds one send.
    """
    opened: dict[str, AppriseChannel] = {}
    problems: dict[str, str] = {}
    for channel in channels:
        apprise = _load(channel)
        if apprise is None:
            problems[channel.name] = "this is no URL that Apprise knows (see the list of services in its documentation)"
        else:
            opened[channel.name] = AppriseChannel(channel, apprise, timeout)
    if problems:
        raise ChannelError(problems)
    return opened


def _load(channel: Channel) -> Apprise | None:
    from apprise import Apprise, AppriseAsset

    _guard_logs(channel)
    if channel.proxy is not None:
        _let_requests_ask_for_proxies()
    asset = AppriseAsset(
        app_id="mailcanary",
        app_desc="mailcanary",
        storage_mode="memory",
        service_timeout=0,  # no second pool of threads: `AppriseChannel` keeps the time
        allow_templates=False,
        http_redirects=False,
        secure_logging=True,
    )
    with warnings.catch_warnings():
        # The first call imports every plugin, and with them what Python 3.11 and 3.12 call deprecated (imghdr).
        warnings.simplefilter("ignore", DeprecationWarning)
        service = Apprise.instantiate(channel.url.reveal(), asset=asset)
    if service is None:
        return None
    service.request_rate_per_sec = 0  # the outbox paces; Apprise would sleep in the thread for up to 5.5 s
    apprise = Apprise(asset=asset)
    apprise.add(service)
    return apprise


def _let_requests_ask_for_proxies() -> None:
    """Let every HTTPS request of `requests` take the proxy of its thread, where it has one, before any other.

    Apprise's plugins call `requests.post` and the like, each of which makes a `Session` of its own and asks this method
    for proxies; there is no nearer place to tell it.
    """
    from requests import Session

    plain: Any = Session.merge_environment_settings
    if hasattr(plain, "__wrapped__"):
        return

    @wraps(plain)
    def merge(session: Session, url: str, proxies: dict[str, str] | None, *settings: Any) -> Any:
        proxy = _PROXY.get()
        chosen = {} if proxy is None else {"https": proxy.reveal()}
        return plain(session, url, {**(proxies or {}), **chosen}, *settings)

    replacement: Any = merge
    Session.merge_environment_settings = replacement  # type: ignore[method-assign]


class _Redacting(logging.Filter):
    """Redacts what a logger says before any handler sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.redact = Redactor()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.redact(record.getMessage()), None
        record.exc_info = record.exc_text = None  # a traceback of `requests` holds the URL
        return True


_REDACTING = _Redacting()  # one, as there is one logger of Apprise's in a process


def _guard_logs(channel: Channel) -> None:
    """Keep every part of a channel's URL out of the logs, from now on."""
    for part in _secrets_of_channel(channel):
        _REDACTING.redact.learn(part)
    log = logging.getLogger("apprise")
    log.addFilter(_REDACTING)
    log.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.INFO)  # at DEBUG it writes the path of every request


def _reason(result: AppriseResult) -> str:
    said: list[Any] = [entry.message for service in result for entry in service.logs()]
    return "; ".join(said) or f"the service did not take it ({result.status.name.lower()})"


def _secrets_of(url: Secret) -> Iterable[Secret]:
    """Every part of a URL that may be a token: which part is one differs from service to service."""
    rest = url.reveal().partition("://")[2]
    parts = {part for piece in _SEPARATORS.split(rest) for part in (piece, unquote_plus(piece))}
    return [url, *(Secret(part) for part in sorted(parts) if len(part) >= _SHORTEST_SECRET)]


def _secrets_of_channel(channel: Channel) -> Iterable[Secret]:
    yield from _secrets_of(channel.url)
    if channel.proxy is not None:
        yield channel.proxy
        parts = urlsplit(channel.proxy.reveal())
        yield from (Secret(unquote_plus(part)) for part in (parts.username, parts.password) if part)
