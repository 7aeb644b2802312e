"""A stand-in control server and client for testing proxies: upgrades as TS2021 does, then long silence.

    upgrade.py serve PORT              answers /health (with 500 after SIGUSR1), upgrades /ts2021, then echoes
    upgrade.py hold ADDRESS PORT S     upgrades, says a word, is silent for S seconds, says another

`hold` ends with 0 if both words came back. The standard library suffices.
"""

import asyncio
import signal
import sys

UPGRADE = (
    "POST /ts2021 HTTP/1.1\r\nHost: {host}\r\nUpgrade: tailscale-control-protocol\r\nConnection: upgrade\r\n"
    "X-Tailscale-Handshake: AAEA\r\nContent-Length: 0\r\n\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tailscale-control-protocol\r\nConnection: upgrade\r\n\r\n"
)
HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ILL = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"
ill = asyncio.Event()
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: requests, until one is an upgrade."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if head.startswith(b"get /health"):
                writer.write(ILL if ill.is_set() else HEALTHY)
                continue
            asks = head.startswith(b"post /ts2021") and b"\r\nupgrade: tailscale-control-protocol\r\n" in head
            if not (asks and b"\r\nx-tailscale-handshake: aaea\r\n" in head):
                writer.write(REFUSED)
                break
            writer.write(SWITCHED)
            while data := await reader.read(4096):
                writer.write(data)
            break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve(port: int) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, ill.set)
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    print("serving", flush=True)
    await server.serve_forever()


async def hold(address: str, port: int, seconds: float) -> None:
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(UPGRADE.format(host=f"{address}:{port}").encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    for word in (b"first", b"second"):
        writer.write(word)
        assert await reader.readexactly(len(word)) == word
        if word == b"first":
            print("upgraded", flush=True)
            await until_closed(reader, seconds)
    print("held", flush=True)
    writer.close()


async def until_closed(reader: asyncio.StreamReader, seconds: float) -> None:
    """Returns after the silence; AssertionError if the tunnel was closed or spoke meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            raise AssertionError(f"in the silence came: {await reader.read(1)!r}")
    except TimeoutError:
        pass


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        asyncio.run(hold(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
