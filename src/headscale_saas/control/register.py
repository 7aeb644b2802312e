"""POST /machine/register: words the outcome of a registration for the client.

A "no" is HTTP 200 with `Error`, since only that is shown to the person who waits at `tailscale up`;
a status tells the client to try again by itself, which is right only when we are at fault.
"""

from collections.abc import Awaitable, Callable

from headscale_saas.actions.outcome import (
    Declined,
    KeyExpired,
    LoggedOut,
    Outcome,
    Pending,
    Registered,
)
from headscale_saas.control.arrivals import Arrivals
from headscale_saas.control.request import Request
from headscale_saas.errors import Error, Unavailable
from headscale_saas.netmap import identity
from headscale_saas.observe import Ration, get_logger
from headscale_saas.store.directory import NodeRef
from headscale_saas.tailcfg.codec import decode, encode
from headscale_saas.tailcfg.keys import MachineKey
from headscale_saas.tailcfg.register import Login, RegisterRequest, RegisterResponse, User
from headscale_saas.tailnet.model import Node
from headscale_saas.tailnet.model import User as Member

log = get_logger(__name__)

REFUSALS = Ration(20)
"""Lines in the log a minute, for each code."""

Decide = Callable[[MachineKey, int, RegisterRequest, str], Awaitable[Outcome]]
"""`actions.register.register` with all but machine key, protocol version, request and origin filled in."""


class Register:
    """`server_url` has no slash at its end; login links are made of it, never of what a client sent."""

    def __init__(self, decide: Decide, arrivals: Arrivals, server_url: str) -> None:
        self._register = decide
        self._arrivals = arrivals
        self._server_url = server_url

    async def __call__(self, request: Request) -> None:
        wish = decode(RegisterRequest, request.body)
        answer = await self._decide(request, wish)
        request.stream.respond(200, encode(answer), "application/json")

    async def _decide(self, request: Request, wish: RegisterRequest) -> RegisterResponse:
        connection = request.connection
        try:
            outcome = await self._register(
                connection.machine, connection.protocol_version, wish, connection.peer
            )
        except Unavailable:
            raise
        except Error as error:
            if (left_out := REFUSALS.left_out(error.code)) is not None:
                machine = str(connection.machine)
                log.info("registration_refused", code=error.code, machine=machine, left_out=left_out)
            return RegisterResponse(error=error.message)
        if isinstance(outcome, Registered):
            self._arrivals.note(_ref(outcome))
        return self._word(outcome)

    def _word(self, outcome: Outcome) -> RegisterResponse:
        match outcome:
            case Registered(node=node, user=user):
                return _registered(node, user)
            case Pending(login_id=login_id):
                return RegisterResponse(auth_url=f"{self._server_url}/register/{login_id}")
            case KeyExpired() | LoggedOut():
                return RegisterResponse(node_key_expired=True)
            case Declined(message=message):
                return RegisterResponse(error=message)


def _ref(outcome: Registered) -> NodeRef:
    node = outcome.node
    return NodeRef(
        tailnet=outcome.tailnet,
        node=node.id,
        machine_key=node.machine_key,
        node_key=node.node_key,
        version=outcome.version,
    )


def _registered(node: Node, user: Member | None) -> RegisterResponse:
    if user is None:
        user_id, login = identity.self_user(node), node.name
        return RegisterResponse(
            user=User(id=user_id, display_name=login, created=node.created_at),
            login=Login(id=user_id, login_name=login, display_name=login),
            machine_authorized=node.authorized,
        )
    shown = user.display_name or user.login_name
    return RegisterResponse(
        user=User(id=user.id, display_name=shown, profile_pic_url=user.picture_url, created=user.created_at),
        login=Login(
            id=user.id,
            provider=user.provider,
            login_name=user.login_name,
            display_name=shown,
            profile_pic_url=user.picture_url,
        ),
        machine_authorized=node.authorized,
    )
