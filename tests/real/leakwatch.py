"""Stands where the lab's default routes lead, and says every packet for elsewhere on standard output.

    leakwatch.py INTERFACE ALLOWED-PREFIX…

Each stray is one JSON line, said once for each (source, destination, protocol, port).
The standard library suffices.
"""

import ipaddress
import json
import socket
import struct
import sys
from typing import TypedDict

IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP = 6, 17


class Stray(TypedDict):
    source: str
    destination: str
    protocol: int
    port: int


def read(frame: bytes) -> Stray | None:
    """The addresses of an Ethernet frame; None for what is not IP."""
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind == IPV4 and len(frame) >= 34:
        source, destination, protocol = frame[26:30], frame[30:34], frame[23]
        ports = 14 + (frame[14] & 15) * 4
    elif kind == IPV6 and len(frame) >= 54:
        source, destination, protocol = frame[22:38], frame[38:54], frame[20]
        ports = 54
    else:
        return None
    port = 0
    if protocol in (TCP, UDP) and len(frame) >= ports + 4:
        (port,) = struct.unpack_from("!H", frame, ports + 2)
    return Stray(
        source=str(ipaddress.ip_address(source)),
        destination=str(ipaddress.ip_address(destination)),
        protocol=protocol,
        port=port,
    )


def watch(interface: str, allowed: list[str]) -> None:
    networks = [ipaddress.ip_network(prefix) for prefix in allowed]
    every_protocol = 3
    seen: set[tuple[object, ...]] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(every_protocol)) as listener:
        listener.bind((interface, 0))
        print(json.dumps({"watching": interface}), flush=True)
        while True:
            stray = read(listener.recv(65535))
            if stray is None:
                continue
            address = ipaddress.ip_address(stray["destination"])
            key = tuple(stray.values())
            if key not in seen and not any(address in network for network in networks):
                seen.add(key)
                print(json.dumps(stray), flush=True)


if __name__ == "__main__":
    watch(sys.argv[1], sys.argv[2:])
