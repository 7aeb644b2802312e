"""Who a simulated client is: its keys, and the marks of its tailnet in everything it says of itself.

A mark is 8 hex digits made from the tailnet's label. It stands in the host name, in other parts of Hostinfo
that servers copy, and in the IPv6 documentation prefix of the endpoints; both halves have their top bit set,
so that no way of writing an IPv6 address shortens them.
"""

import os
from dataclasses import dataclass, field
from hashlib import blake2s

from headscale_saas.tailcfg.hostinfo import Hostinfo, NetInfo, Service
from headscale_saas.tailcfg.keys import DiscoKey, NodeKey, PrivateKey, TailnetLockKey

VERSION = "1.102.5-swarm"
CAPABILITY_VERSION = 142
DERP_REGION = 999
WIREGUARD_PORT = 41641


@dataclass(frozen=True, slots=True)
class Mark:
    """What every client of one tailnet carries, and no other."""

    digits: str

    @classmethod
    def of(cls, label: str) -> "Mark":
        """The mark of the tailnet that the caller calls `label`; the same text gives the same mark."""
        raw = int.from_bytes(blake2s(label.encode(), digest_size=4).digest(), "big")
        return cls(f"{raw | 0x8000_8000:08x}")

    @property
    def text(self) -> str:
        return f"swarm-{self.digits}"

    @property
    def prefix(self) -> str:
        """The first four groups of the endpoints' addresses."""
        return f"2001:db8:{self.digits[:4]}:{self.digits[4:]}:"

    def endpoint(self, host: int, port: int = WIREGUARD_PORT) -> str:
        """`host` (1 to 65535) is the last group of the address."""
        return f"[{self.prefix}:{host:x}]:{port}"


@dataclass(slots=True)
class Identity:
    """The keys of a client, as its state file would hold them. Node and disco keys are their public halves:
    nobody in a simulation opens a tunnel."""

    machine: PrivateKey = field(default_factory=lambda: PrivateKey(os.urandom(32)))
    node_key: NodeKey = field(default_factory=lambda: NodeKey(os.urandom(32)))
    old_node_key: NodeKey = field(default_factory=NodeKey.zero)
    disco_key: DiscoKey = field(default_factory=lambda: DiscoKey(os.urandom(32)))
    nl_key: TailnetLockKey = field(default_factory=lambda: TailnetLockKey(os.urandom(32)))

    def rotate(self) -> None:
        """A new node key; the one before is named as the old one from now on."""
        self.old_node_key, self.node_key = self.node_key, NodeKey(os.urandom(32))


def hostinfo(mark: Mark, hostname: str) -> Hostinfo:
    """What `tailscaled` on Linux says of itself, with the mark in several members."""
    return Hostinfo(
        ipn_version=VERSION,
        backend_log_id=mark.text,
        os="linux",
        os_version=mark.text,
        device_model=mark.text,
        hostname=hostname,
        machine="x86_64",
        go_arch="amd64",
        services=(Service(proto="peerapi4", port=33333, description=mark.text),),
        net_info=NetInfo(preferred_derp=DERP_REGION, working_udp=True, mapping_varies_by_dest_ip=False),
        userspace=True,
    )
