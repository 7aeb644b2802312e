"""The plain HTTP half: what a client or a person may ask before, or without, a Noise connection."""

import asyncio
import platform
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headscale_saas.access.credentials import read_login_id
from headscale_saas.control.pages import bad_login_page, login_page
from headscale_saas.errors import Error, Invalid
from headscale_saas.tailcfg.keys import MachineKey

# The first capability version that understands the JSON answer of /key.
FIRST_NOISE_CAPVER = 39

SECURITY_HEADERS = {
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}

Ping = Callable[[], Awaitable[None]]


class Public:
    """The handlers. `serving_key` is the public Noise key, `ping` asks the database whether it is there."""

    def __init__(self, serving_key: Callable[[], MachineKey], ping: Ping, version: str) -> None:
        self._serving_key = serving_key
        self._ping = ping
        self._pinging: asyncio.Future[None] | None = None
        self._version = version

    def routes(self) -> list[Route]:
        """Every page there is."""
        return [
            Route("/key", self.key),
            Route("/health", self.health),
            Route("/version", self.version),
            Route("/robots.txt", self.robots),
            Route("/generate_204", self.no_content),
            Route("/register/{login_id}", self.register),
            Route("/", self.root),
        ]

    def app(self) -> ASGIApp:
        app = Starlette(routes=self.routes())
        # It would redirect to whatever host the request names.
        app.router.redirect_slashes = False
        return _SecurityHeaders(app)

    async def key(self, request: Request) -> Response:
        """The Noise key (`tailcfg.OverTLSPublicKeyResponse`). The legacy key is zero: nothing uses it."""
        text = request.query_params.get("v", "")
        if not text:
            return PlainTextResponse("capability version must be set", 400)
        if not (text.isascii() and text.isdigit() and len(text) < 6):
            return PlainTextResponse("invalid capability version", 400)
        if int(text) < FIRST_NOISE_CAPVER:
            return PlainTextResponse("this client is too old for this server", 400)
        body = {
            "legacyPublicKey": str(MachineKey.zero()),
            "publicKey": str(self._serving_key()),
        }
        # Browser clients fetch the key from pages of another origin; it is public anyway.
        return JSONResponse(body, headers={"access-control-allow-origin": "*"})

    async def health(self, request: Request) -> Response:
        try:
            await self._ping_together()
        except (Error, OSError):
            return _health("fail", 500)
        return _health("pass", 200)

    async def _ping_together(self) -> None:
        """One question for all who ask at once: anybody may, and connections are few."""
        if self._pinging is None or self._pinging.done():
            self._pinging = asyncio.ensure_future(self._ping())
        # Who hangs up takes the answer from nobody.
        await asyncio.shield(self._pinging)

    async def version(self, request: Request) -> Response:
        """In headscale's shape, since its web interfaces read it."""
        runtime = {
            "version": f"python{platform.python_version()}",
            "os": platform.system().lower(),
            "arch": platform.machine(),
        }
        return JSONResponse(
            {
                "version": self._version,
                "commit": "",
                "buildTime": "",
                "go": runtime,
                "dirty": False,
            }
        )

    async def robots(self, request: Request) -> Response:
        return PlainTextResponse("User-agent: *\nDisallow: /\n")

    async def no_content(self, request: Request) -> Response:
        return Response(status_code=204)

    async def register(self, request: Request) -> Response:
        """Says how to approve this login. Whether the id exists is told to nobody."""
        try:
            return login_page(read_login_id(request.path_params["login_id"]))
        except Invalid:
            return bad_login_page()

    async def root(self, request: Request) -> Response:
        return HTMLResponse("")


def _health(status: str, code: int) -> Response:
    return JSONResponse({"status": status}, code, media_type="application/health+json")


class _SecurityHeaders:
    """Adds the same protective headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
