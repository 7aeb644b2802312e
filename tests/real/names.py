"""The lab's DNS server: every name is unknown, and every question is said on standard output.

    names.py ADDRESS

Without it a question for a vendor's host would die unseen on a closed port, inside the lab.
The standard library suffices.
"""

import json
import socket
import sys

NXDOMAIN_RESPONSE = 0x8183


def question(packet: bytes) -> tuple[str, int]:
    """The name that is asked for and where the question ends. RFC 1035, section 4.1.2."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii", "replace"))
        at += 1 + packet[at]
    return ".".join(labels).lower(), at + 5


def answer(packet: bytes, end: int) -> bytes:
    head = packet[:2] + NXDOMAIN_RESPONSE.to_bytes(2, "big") + b"\0\1" + bytes(6)
    return head + packet[12:end]


def serve(address: str) -> None:
    seen: set[tuple[str, str]] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((address, 53))
        print(json.dumps({"serving": address}), flush=True)
        while True:
            packet, asker = listener.recvfrom(4096)
            try:
                name, end = question(packet)
            except IndexError:
                continue
            listener.sendto(answer(packet, end), asker)
            if (asker[0], name) not in seen:
                seen.add((asker[0], name))
                print(json.dumps({"source": asker[0], "name": name}), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
