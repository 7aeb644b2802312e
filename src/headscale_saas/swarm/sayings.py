"""What a client says of itself, as the two requests that carry it."""

from dataclasses import dataclass
from datetime import datetime

from headscale_saas.swarm.identity import Identity
from headscale_saas.tailcfg.hostinfo import Hostinfo
from headscale_saas.tailcfg.maps import ZSTD, MapRequest
from headscale_saas.tailcfg.register import RegisterAuth, RegisterRequest

LOGOUT = datetime.fromisoformat("1970-01-01T00:02:03+00:00")
"""The past moment that the official client asks to expire at when it logs out."""

LOCAL = 1
"""The type of an endpoint: an address of its own."""


@dataclass(slots=True)
class Said:
    """All of it, as it is now."""

    identity: Identity
    hostinfo: Hostinfo
    endpoints: tuple[str, ...]
    capver: int


def register_request(
    said: Said, *, auth_key: str, followup: str, expiry: datetime | None, ephemeral: bool, tailnet: str
) -> RegisterRequest:
    return RegisterRequest(
        version=said.capver,
        node_key=said.identity.node_key,
        old_node_key=said.identity.old_node_key,
        nl_key=said.identity.nl_key,
        auth=RegisterAuth(auth_key=auth_key) if auth_key else None,
        expiry=expiry,
        followup=followup,
        hostinfo=said.hostinfo,
        ephemeral=ephemeral,
        tailnet=tailnet,
    )


def map_request(said: Said, *, stream: bool) -> MapRequest:
    """The long poll, or else the lite update."""
    return MapRequest(
        version=said.capver,
        compress=ZSTD,
        keep_alive=True,
        node_key=said.identity.node_key,
        disco_key=said.identity.disco_key,
        stream=stream,
        omit_peers=not stream,
        hostinfo=said.hostinfo,
        endpoints=said.endpoints,
        endpoint_types=(LOCAL,) * len(said.endpoints),
    )
