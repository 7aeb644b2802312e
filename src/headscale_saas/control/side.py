"""The small endpoints: answers to our pings, reports, and features a plain tailnet does not have.

Answers to pings carry no body: the client never reads it, and it would eat its flow-control window.
"""

from headscale_saas.control.request import Request
from headscale_saas.errors import Invalid
from headscale_saas.tailcfg.codec import decode, encode
from headscale_saas.tailcfg.control import QueryFeatureRequest, QueryFeatureResponse


async def ping_response(request: Request) -> None:
    """The answer to a PingRequest or a c2n call. Nobody waits for one yet: accepted and dropped."""
    request.stream.respond(204)


async def whoami(request: Request) -> None:
    """Used by `tailscale debug ts2021` alone."""
    text = f"You are {request.connection.machine} at {request.connection.peer}\n"
    request.stream.respond(200, text.encode(), "text/plain; charset=utf-8")


async def accepted(request: Request) -> None:
    """Reports we keep nothing of: health changes, audit entries."""
    request.stream.respond(200, b"{}", "application/json")


async def feature_query(request: Request) -> None:
    """Says plainly that Serve and Funnel cannot be turned on from here."""
    wish = decode(QueryFeatureRequest, request.body)
    if wish.feature not in ("serve", "funnel"):
        raise Invalid(f"unknown feature {wish.feature!r}")
    answer = QueryFeatureResponse(complete=False, text=f"{wish.feature} is not available in this tailnet.")
    request.stream.respond(200, encode(answer), "application/json")


async def not_built(request: Request) -> None:
    """Endpoints of features that this server does not have."""
    request.stream.respond(501, b"not implemented", "text/plain; charset=utf-8")
