"""`mailcanary check`: every wanted watch once, side by side where that is harmless, printed as it ends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable

import click
from pydantic import TypeAdapter

from checks.core.clock import SystemClock
from checks.core.model import Outcome, Result
from checks.core.run import run_check
from checks.core.target import Credential, Inbox, Mailbox, Route
from checks.registry import CHECKS
from checks.wire.kit import open_kit
from monitor.cli import loop
from monitor.cli.waterfall import lines
from monitor.config import Configuration
from monitor.config.wording import listed
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
        click.echo("nothing to check: every wanted check is switched off in the configuration", err=True)
    results = loop.run(_run(watches, configuration, as_json=as_json))
    if as_json:
        _print(json.dumps([_as_json(result) for result in results], indent=2))
    outcomes = [result.outcome for result in results] or [Outcome.UNKNOWN]
    return Outcome.worst(outcomes).exit_code


def _wanted(configuration: Configuration, mailboxes: tuple[str, ...], *, canary: bool) -> Iterable[Watch]:
    """Credentials first, then mailboxes; canaries only when asked for: a check must not send mail by surprise."""
    plan = plan_of(configuration).watches
    chosen = [box for name, box in configuration.mailboxes.items() if not mailboxes or name in mailboxes]
    behind = {mailbox.credential.id for mailbox in chosen} | {str(mailbox.endpoint) for mailbox in chosen}
    for watch in plan.values():
        target = watch.target
        if isinstance(target, Credential | Route) and (not mailboxes or {target.id, target.connects_to} & behind):
            yield watch
    for mailbox in chosen:
        for name, check in CHECKS.items():
            planned = plan.get(watch_id(name, mailbox.id))
            if name == "canary" and not canary:
                continue
            if planned is not None:
                yield planned
            elif name == "canary":
                yield Watch(
                    id=watch_id(name, mailbox.id),
                    check=name,
                    target=mailbox,
                    settings=check.settings(),
                    interval=check.interval,
                    timeout=check.timeout,
                )


async def _run(watches: list[Watch], configuration: Configuration, *, as_json: bool) -> list[Result]:
    slots = asyncio.Semaphore(SIDE_BY_SIDE)
    one_at_a_time: dict[str, asyncio.Lock] = {}
    show_progress = not as_json and sys.stderr.isatty()
    ended = 0

    def progress(text: str) -> None:
        if show_progress:
            click.echo(f"\r{text}\x1b[K", nl=False, err=True)

    async with open_kit(clock=SystemClock(), ehlo_name=configuration.network.ehlo_name) as kit:

        async def one(watch: Watch) -> Result:
            nonlocal ended
            async with one_at_a_time.setdefault(watch.target.occupies or watch.id, asyncio.Lock()), slots:
                result = await run_check(
                    CHECKS[watch.check], watch.target, watch.settings, kit, watch=watch.id, seconds=watch.timeout
                )
            ended += 1
            if not as_json:
                progress("")  # on a terminal the result takes its line
                _show(watch, result, configuration)
            progress(f"{ended} of {len(watches)} checked")
            return result

        progress(f"0 of {len(watches)} checked")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(watch)) for watch in watches]
        progress("")
        return [task.result() for task in tasks]


def _show(watch: Watch, result: Result, configuration: Configuration) -> None:
    words = dict(watch.target.words)
    if isinstance(watch.target, Mailbox | Inbox) and "cli" in configuration.show_addresses:
        words["address"] = watch.target.address.reveal()
    name = words.get("address") or watch.id.partition("/")[2]
    _print("\n".join([*lines(name, result, words), ""]))


def _print(text: str) -> None:
    """To stdout. A reader that leaves early (`| head`) misses the rest; the checks and the exit status go on."""
    try:
        click.echo(text)
    except BrokenPipeError:
        # As in Python's documentation of `signal`, "Note on SIGPIPE": what is still buffered has to go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_json(result: Result) -> dict[str, object]:
    return {**_RESULT.dump_python(result, mode="json"), "outcome": result.outcome.value}
