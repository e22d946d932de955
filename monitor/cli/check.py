"""`mailcanary check`: every wanted watch once, side by side where that is harmless, printed as it ends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Collection, Iterable

import click
from pydantic import TypeAdapter

from checks.core.clock import SystemClock
from checks.core.kit import Kit
from checks.core.model import Folder, Outcome, Result, Sent
from checks.core.run import run_check
from checks.core.target import Inbox, Mailbox, Route, Target, endpoint_behind, words_of
from checks.registry import CHECKS
from checks.wire.kit import open_kit
from monitor.cli import loop
from monitor.cli.arrival import Arrivals
from monitor.cli.waterfall import lines
from monitor.config import Configuration
from monitor.config.wording import listed
from monitor.model import Canary
from monitor.plan import Watch, plan_of, watch_id

# Mailboxes are checked side by side up to this number: a terminal command is no load test.
SIDE_BY_SIDE = 10

_RESULT = TypeAdapter(Result)


def check_once(
    configuration: Configuration, mailboxes: tuple[str, ...], only: tuple[str, ...], *, canary: bool, as_json: bool
) -> int:
    """Run, print, and give the exit status."""
    known = configuration.mailboxes.keys()
    if strangers := sorted(set(mailboxes) - known):
        raise click.UsageError(f"no such mailbox: {', '.join(strangers)}. Known are: {listed(sorted(known))}")
    if strangers := sorted(set(only) - set(CHECKS)):
        raise click.UsageError(f"no such check: {', '.join(strangers)}. Known are: {listed(CHECKS)}")
    if "canary" in only and not canary:
        raise click.UsageError("the check canary sends a message: confirm it with --canary")
    watches = [watch for watch in _wanted(configuration, mailboxes, canary=canary) if not only or watch.check in only]
    if not watches:
        click.echo("nothing to check: the configuration runs none of the wanted checks for what was named", err=True)
    results = loop.run(_run(watches, configuration, as_json=as_json))
    if as_json:
        _print(json.dumps([_as_json(result) for result in results], indent=2))
    outcomes = [result.outcome for result in results] or [Outcome.UNKNOWN]
    return Outcome.worst(outcomes).exit_code


def _wanted(configuration: Configuration, mailboxes: tuple[str, ...], *, canary: bool) -> Iterable[Watch]:
    """What stands behind mailboxes first, then they; canaries only when asked for: a check must not send mail by surprise."""
    plan = plan_of(configuration).watches
    chosen = {name: box for name, box in configuration.mailboxes.items() if not mailboxes or name in mailboxes}
    behind = {mailbox.credential.id for mailbox in chosen.values()} | {
        str(endpoint_behind(watch.target, CHECKS[watch.check].speaks))
        for watch in plan.values()
        if isinstance(watch.target, Mailbox) and watch.target.id in chosen and not watch.derived
    }
    for watch in plan.values():
        target = watch.target
        key = target.connects_to if isinstance(target, Route) else target.id
        if not watch.derived and not isinstance(target, Mailbox) and (not mailboxes or key in behind):
            yield watch
    for mailbox in chosen.values():
        for name in CHECKS:
            planned = plan.get(watch_id(name, mailbox.id))
            if name == "canary" and not canary:
                continue
            if planned is not None:
                yield planned
            elif name == "canary":
                usual = configuration.usual[name]
                yield Watch(
                    id=watch_id(name, mailbox.id),
                    check=name,
                    target=mailbox,
                    settings=usual.settings,
                    interval=usual.interval,
                    timeout=usual.timeout,
                )


class _Checking:
    """One call of the command: runs watches, prints what they come to, and says on a terminal how far it is."""

    def __init__(self, kit: Kit, configuration: Configuration, *, as_json: bool) -> None:
        self._kit = kit
        self._as_json = as_json
        self._show_progress = not as_json and sys.stderr.isatty()
        self._read = configuration.inboxes.keys()
        self._addresses = "cli" in configuration.show_addresses
        self._slots = asyncio.Semaphore(SIDE_BY_SIDE)
        self._occupied: dict[str, asyncio.Lock] = {}

    async def all(self, watches: list[Watch]) -> list[Result]:
        """Every watch once, side by side; each is shown as it ends."""
        ended = 0

        async def one(watch: Watch) -> Result:
            nonlocal ended
            async with self._occupied.setdefault(watch.target.occupies or watch.id, asyncio.Lock()), self._slots:
                result = await self.run(watch)
            ended += 1
            self.show(watch.target, result, *_unawaited(result, self._read))
            self.progress(f"{ended} of {len(watches)} checked")
            return result

        self.progress(f"0 of {len(watches)} checked")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(watch)) for watch in watches]
        self.progress("")
        return [task.result() for task in tasks]

    async def run(self, watch: Watch) -> Result:
        """One watch, once. Of an inbox nothing is taken out: the daemon may not have seen it yet."""
        check, settings = CHECKS[watch.check], watch.settings
        if isinstance(watch.target, Inbox):
            settings = settings.model_copy(update={"clean": False})
        return await run_check(check, watch.target, settings, self._kit, watch=watch.id, seconds=watch.timeout)

    def show(self, target: Target, result: Result, *more: str) -> None:
        """Print one result, and more lines below it."""
        if self._as_json:
            return
        self.progress("")  # on a terminal the result takes its line
        shown = {}
        if isinstance(target, Mailbox | Inbox) and self._addresses:
            shown["address"] = target.address.reveal()
        name = shown.get("address") or result.watch.partition("/")[2]
        told = lines(name, result, lambda evidence: {**words_of(target, evidence), **shown})
        _print("\n".join([*told, *more, ""]))

    def settled(self, canary: Canary, mailbox: Mailbox, result: Result) -> None:
        """Print what became of a canary."""
        self.show(mailbox, result, *_arrival(canary))

    def progress(self, text: str) -> None:
        """Replace the progress line."""
        if self._show_progress:
            click.echo(f"\r{text}\x1b[K", nl=False, err=True)


async def _run(watches: list[Watch], configuration: Configuration, *, as_json: bool) -> list[Result]:
    clock = SystemClock()
    async with open_kit(clock=clock, network=configuration.network) as kit:
        checking = _Checking(kit, configuration, as_json=as_json)
        results = await checking.all(watches)
        arrivals = Arrivals(
            [watch for watch in plan_of(configuration).watches.values() if isinstance(watch.target, Inbox)],
            configuration.lateness,
            clock,
            run=checking.run,
            unread=checking.show,
            told=checking.settled,
            progress=checking.progress,
        )
        mailboxes = [watch.target for watch in watches if isinstance(watch.target, Mailbox)]
        verdicts = await arrivals.wait_for(results, mailboxes)
        checking.progress("")
        return [*results, *verdicts]


def _unawaited(result: Result, read: Collection[str]) -> list[str]:
    """Of a canary to no inbox that is read: that nobody looks for it."""
    unawaited = any(
        isinstance(fact, Sent) and not any(inbox in read for inbox in fact.inboxes) for fact in result.facts
    )
    return (
        ["  sent       where nobody looks for it: `to` of the canary names no inbox that is read"] if unawaited else []
    )


def _arrival(canary: Canary) -> list[str]:
    """Where and when a canary arrived; nothing for one that has not."""
    if canary.arrived_at is None or canary.delay is None:
        return []
    where = f"{canary.inbox}, folder {canary.folder}" if canary.folder is Folder.JUNK else canary.inbox
    return [
        f"  arrived    in inbox {where}, {canary.delay:.0f} s after it was sent, at {canary.arrived_at:%H:%M:%S} UTC"
    ]


def _print(text: str) -> None:
    """To stdout. A reader that leaves early (`| head`) misses the rest; the checks and the exit status go on."""
    try:
        click.echo(text)
    except BrokenPipeError:
        # As in Python's documentation of `signal`, "Note on SIGPIPE": what is still buffered has to go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_json(result: Result) -> dict[str, object]:
    return {**_RESULT.dump_python(result, mode="json"), "outcome": result.outcome.value}
