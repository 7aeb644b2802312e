"""What anybody may ask in plain HTTP."""

import asyncio
from typing import Any, cast

import pytest
from starlette.requests import Request

from headscale_saas.control.public import Public
from headscale_saas.errors import Unavailable
from headscale_saas.tailcfg.keys import MachineKey

NOBODY = cast(Request, None)


class Doctor:
    """Counts how often the database is asked; the answer comes when `answer` is set."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.asked = 0
        self.answer = asyncio.Event()
        self._problem = problem

    async def ping(self) -> None:
        self.asked += 1
        await self.answer.wait()
        if self._problem:
            raise self._problem


@pytest.mark.parametrize(("problem", "status"), [(None, 200), (Unavailable("away"), 500)])
async def test_many_who_ask_for_health_at_once_are_one_question(
    problem: Exception | None, status: int
) -> None:
    doctor = Doctor(problem)
    public = Public(MachineKey.zero, doctor.ping, "1")
    crowd = [asyncio.create_task(public.health(NOBODY)) for _ in range(100)]
    await asyncio.sleep(0)
    crowd.pop(0).cancel()  # the one whose question it was
    await asyncio.sleep(0)
    doctor.answer.set()
    assert {(await task).status_code for task in crowd} == {status}
    assert doctor.asked == 1
    assert (await public.health(NOBODY)).status_code == status
    assert doctor.asked == 2


async def test_a_question_that_everybody_gave_up_leaves_nothing_behind() -> None:
    doctor = Doctor()
    public = Public(MachineKey.zero, doctor.ping, "1")
    task = asyncio.create_task(public.health(NOBODY))
    await asyncio.sleep(0)
    task.cancel()
    doctor.answer.set()
    await asyncio.wait([task])
    assert (await public.health(NOBODY)).status_code == 200


async def test_nobody_is_sent_to_a_host_that_a_request_names() -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    app = Public(MachineKey.zero, Doctor().ping, "1").app()
    for path in ("/version/", "/register/x/", "//evil.example/"):
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "root_path": ""}
        scope["headers"] = [(b"host", b"evil.example")]
        await app(scope, receive, send)
        assert said[0]["status"] == 404
        assert b"location" not in dict(said[0]["headers"])
        said.clear()
