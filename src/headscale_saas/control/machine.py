"""The half inside Noise: routes a node's request, and turns our errors into what its client shows.

Every path is open to any machine key, so each handler checks that the node it speaks of belongs to
the machine at the other end of the connection. `:authority` is ignored: clients write anything there.
"""

from collections.abc import Awaitable, Callable, Mapping

from headscale_saas.control.request import Request
from headscale_saas.errors import (
    Error,
    Forbidden,
    Invalid,
    LimitReached,
    NotFound,
    ProtocolError,
    Refused,
    Unauthorized,
    Unavailable,
)
from headscale_saas.observe import Ration, get_logger

log = get_logger(__name__)

Route = Callable[[Request], Awaitable[None]]

# Clients show or log at most this much of an error text.
ERROR_TEXT_BYTES = 200

REFUSALS = Ration(20)
"""Lines in the log a minute, for each code."""

_STATUS: tuple[tuple[type[Error], int], ...] = (
    (Invalid, 400),
    (ProtocolError, 400),
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (LimitReached, 429),
    (Refused, 403),
    (Unavailable, 503),
)


class Machine:
    """Dispatches by method and path; `prefixes` serve everything below a path."""

    def __init__(self, routes: Mapping[tuple[str, str], Route], prefixes: Mapping[str, Route]) -> None:
        self._routes = routes
        self._prefixes = prefixes

    @property
    def endpoints(self) -> list[tuple[str, str]]:
        """Method and path of everything there is; a prefix ends in "…" and takes any method."""
        return [*self._routes, *(("*", f"{prefix}…") for prefix in self._prefixes)]

    async def __call__(self, request: Request) -> None:
        route = self._find(request)
        try:
            await route(request)
        except Error as error:
            _refuse(request, error)
        except Exception:
            # The one place that stops our own faults: a request may fail, its connection may not.
            log.exception("request_failed", path=request.path)
            _answer(request, 500, "internal error")

    def _find(self, request: Request) -> Route:
        route = self._routes.get((request.method, request.path))
        if route is not None:
            return route
        for prefix, candidate in self._prefixes.items():
            if request.path.startswith(prefix):
                return candidate
        return _unknown


async def _unknown(request: Request) -> None:
    raise NotFound("no such endpoint")


def _refuse(request: Request, error: Error) -> None:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 409)
    if (left_out := REFUSALS.left_out(error.code)) is not None:
        machine = str(request.connection.machine)
        log.info(
            "request_refused",
            path=request.path,
            status=status,
            code=error.code,
            machine=machine,
            left_out=left_out,
        )
    _answer(request, status, error.message)


def _answer(request: Request, status: int, text: str) -> None:
    if not request.stream.closed:
        request.stream.respond(status, text.encode()[:ERROR_TEXT_BYTES], "text/plain; charset=utf-8")
