"""The identity endpoint of an Azure host, over plain HTTP: that of virtual machines, and that of App Service.

Microsoft, "How to use managed identities for Azure resources on an Azure VM to acquire an access token" and "How to use
managed identities for App Service and Azure Functions". Sentences of refusals were seen in public issue threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from monitor.sim.grants import CERTIFICATE
from monitor.sim.records import App, OnHost
from monitor.sim.scopes import RESOURCES

if TYPE_CHECKING:
    from monitor.sim.tokens import Mint
    from monitor.sim.world import World

LIFETIME_S = 86_400  # tokens of managed identities live for a day

_NO_IDENTITY = "Identity not found"
_NO_APP_SERVICE_IDENTITY = (
    "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."
)


class IdentityEndpoint:
    """Both shapes as one aiohttp application (`app`). `header` is what App Service tells its own apps only."""

    def __init__(self, world: World, mint: Mint) -> None:
        self._world = world
        self._mint = mint
        self.header = world.rng.randbytes(16).hex().upper()
        self.app = web.Application()
        self.app.router.add_get("/metadata/identity/oauth2/token", self._machine)
        self.app.router.add_get("/msi/token", self._app_service)

    async def _machine(self, request: web.Request) -> web.Response:
        if request.headers.get("Metadata", "").lower() != "true" or "X-Forwarded-For" in request.headers:
            return _error("bad_request_102", "Required metadata header not specified")
        resource, app = request.query.get("resource", ""), self._chosen(request)
        if app is None:
            return _error("invalid_request", _NO_IDENTITY)
        if resource.rstrip("/") not in RESOURCES:
            return _error("invalid_resource", f"AADSTS500011: The resource principal named {resource} was not found.")
        return web.json_response(
            {
                **self._given(app, resource),
                "client_id": app.client_id,
                "expires_in": str(LIFETIME_S - 1),
                "ext_expires_in": str(LIFETIME_S - 1),
                "not_before": str(int(self._world.now().timestamp())),
            }
        )

    async def _app_service(self, request: web.Request) -> web.Response:
        if request.headers.get("X-IDENTITY-HEADER") != self.header:
            return web.json_response({"statusCode": 401, "message": "Unauthorized"}, status=401)
        app = self._chosen(request)
        if app is None:
            body = {"statusCode": 400, "message": _NO_APP_SERVICE_IDENTITY, "correlationId": self._world.uuid()}
            return web.json_response(body, status=400)
        return web.json_response(self._given(app, request.query.get("resource", "")))

    def _given(self, app: App, resource: str) -> dict[str, str]:
        audience = resource.rstrip("/")
        token = self._mint.issue(self._world, app, audience=audience, credential=CERTIFICATE, lifetime_s=LIFETIME_S - 1)
        ends = int(self._world.now().timestamp()) + LIFETIME_S - 1
        return {"access_token": token, "expires_on": str(ends), "resource": resource, "token_type": "Bearer"}

    def _chosen(self, request: web.Request) -> App | None:
        """The identity of that client id, else the system's, else the only one there is."""
        here = [one for one in self._world.records("app") if isinstance(one, App) and one.on_host is not OnHost.NO]
        if wanted := request.query.get("client_id"):
            return next((one for one in here if one.client_id == wanted), None)
        ours = [one for one in here if one.on_host is OnHost.SYSTEM] or here
        return ours[0] if len(ours) == 1 else None


def _error(error: str, description: str) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=400)
