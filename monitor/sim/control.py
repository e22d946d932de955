"""The control endpoint: look at the world, break it and repair it over HTTP and JSON; and the alert inboxes.

    GET    /world              records, counters and faults in force
    GET    /faults             {"active": […], "kinds": […]} with the settings of each kind as JSON Schema
    POST   /faults             {"fault": …, "subject": …, …settings}   201, the fault with its id
    DELETE /faults/{id}        200, the fault that was repaired
    GET    /submissions        messages that reached the end of DATA; ?mailbox=ADDRESS for one mailbox
    POST   /reset              repair everything, forget what happened
    POST   /inbox/{name}       keep whatever is posted
    GET    /inbox/{name}       what was posted

Mistakes are answered with a 4xx status and {"error": "what is wrong"}. It is plain HTTP without a password and belongs
on loopback only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from monitor.sim.faults import KINDS, Fault, FaultError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from monitor.sim.inboxes import Inboxes
    from monitor.sim.world import World

BODY_LIMIT = 1 << 20  # bytes of a request


class Office(Protocol):
    """What is controlled."""

    world: World
    inboxes: Inboxes

    async def inject(self, name: object, subject: object, settings: Mapping[str, object] | None = None) -> Fault:
        """Put a fault in force."""
        ...

    async def repair(self, fault_id: str) -> Fault:
        """Take it out of force."""
        ...

    async def reset(self) -> None:
        """Repair everything and forget what happened."""
        ...


class Control:
    """The endpoint as an aiohttp application (`app`)."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self.app = web.Application(middlewares=[_errors_as_json], client_max_size=BODY_LIMIT)
        self.app.add_routes(
            [
                web.get("/world", self._world),
                web.get("/faults", self._faults),
                web.post("/faults", self._inject),
                web.delete("/faults/{id}", self._repair),
                web.get("/submissions", self._submissions),
                web.post("/reset", self._reset),
                web.post("/inbox/{name}", self._post),
                web.get("/inbox/{name}", self._read),
            ]
        )

    async def _world(self, _: web.Request) -> web.Response:
        return web.json_response(self._office.world.describe())

    async def _faults(self, _: web.Request) -> web.Response:
        kinds = [
            {
                "fault": kind.name,
                "subject": " or ".join(kind.servers) or kind.subject,
                "summary": kind.summary,
                "settings": kind.settings.model_json_schema(),
            }
            for kind in KINDS.values()
        ]
        active = [fault.describe() for fault in self._office.world.faults.values()]
        return web.json_response({"active": active, "kinds": kinds})

    async def _inject(self, request: web.Request) -> web.Response:
        try:
            wanted = json.loads(await request.read())
        except ValueError as error:
            return _mistake(400, f"the body is not JSON: {error}")
        if not isinstance(wanted, dict):
            return _mistake(400, "expected an object with fault and subject")
        settings = {name: value for name, value in wanted.items() if name not in {"fault", "subject"}}
        try:
            fault = await self._office.inject(wanted.get("fault"), wanted.get("subject"), settings)
        except FaultError as error:
            return _mistake(400, str(error))
        return web.json_response(fault.describe(), status=201)

    async def _repair(self, request: web.Request) -> web.Response:
        fault_id = request.match_info["id"]
        if fault_id not in self._office.world.faults:
            return _mistake(404, f"no fault {fault_id!r} is in force")
        return web.json_response((await self._office.repair(fault_id)).describe())

    async def _submissions(self, request: web.Request) -> web.Response:
        mailbox = request.query.get("mailbox", "").lower()
        found = [one.describe() for one in self._office.world.submissions if mailbox in {"", one.mailbox.lower()}]
        return web.json_response(found)

    async def _reset(self, _: web.Request) -> web.Response:
        await self._office.reset()
        return web.json_response({"reset": True})

    async def _post(self, request: web.Request) -> web.Response:
        self._office.inboxes.add(request.match_info["name"], await request.read(), request.content_type)
        return web.Response(status=204)

    async def _read(self, request: web.Request) -> web.Response:
        return web.json_response(self._office.inboxes.read(request.match_info["name"]))


def _mistake(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Unknown paths, wrong methods and bodies that are too large, in the same shape as all other mistakes."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < web.HTTPBadRequest.status_code:
            raise
        return _mistake(error.status, f"{request.method} {request.path}: {error.reason}")
