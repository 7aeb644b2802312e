"""Who reaches whom by TCP: a server that says its name, one question to it, and a knock that never tires.

talk.py serve PORT NAME         answers "NAME ADDRESS", the address being the asker's
talk.py ask PORT ADDRESS…       asks all at once, and prints their answers as a JSON list; "" for none
talk.py knock PORT ADDRESS      asks ten times a second, and says how each attempt ended as a JSON line

The standard library suffices.
"""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Callable, Coroutine

PATIENCE = 0.5
PAUSE = 0.1


async def serve(port: str, name: str) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asker = writer.get_extra_info("peername")[0]
        writer.write(f"{name} {asker.removeprefix('::ffff:')}".encode())
        writer.close()

    both = socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
    server = await asyncio.start_server(answer, sock=both)
    print("serving", flush=True)
    await server.serve_forever()


async def question(address: str, port: str) -> str:
    """The answer; "" if none came in time."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(address, int(port))
            try:
                return (await reader.read()).decode()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return ""


async def ask(port: str, *addresses: str) -> None:
    print(json.dumps(await asyncio.gather(*(question(address, port) for address in addresses))))


async def knock(port: str, address: str) -> None:
    """Does not wait for one attempt before the next: what is lost costs no time."""
    async with asyncio.TaskGroup() as attempts:
        while True:
            attempts.create_task(attempt(address, port))
            await asyncio.sleep(PAUSE)


async def attempt(address: str, port: str) -> None:
    began = time.monotonic()
    answer = await question(address, port)
    print(json.dumps({"began": began, "ended": time.monotonic(), "answer": answer}), flush=True)


if __name__ == "__main__":
    what: dict[str, Callable[..., Coroutine[None, None, None]]]
    what = {"serve": serve, "ask": ask, "knock": knock}
    asyncio.run(what[sys.argv[1]](*sys.argv[2:]))
