"""What is refused inside Noise is told to the client each time, and to the log a few times a minute."""

import asyncio
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from headscale_saas.control import machine
from headscale_saas.control.machine import Machine
from headscale_saas.control.request import Request
from headscale_saas.observe import Ration


@pytest.fixture
def everything_is_logged() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("everything_is_logged")
async def test_a_flood_of_refused_requests_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "REFUSALS", Ration(20, lambda: 0.0))
    statuses: list[int] = []
    stream: Any = SimpleNamespace(closed=False, respond=lambda status, *_: statuses.append(status))
    caller = SimpleNamespace(machine="mkey:00")
    request = cast(Request, SimpleNamespace(method="GET", path="/x", stream=stream, connection=caller))
    serve = Machine({}, {})
    with capture_logs() as lines:
        await asyncio.gather(*(serve(request) for _ in range(1000)))
    assert statuses == [404] * 1000
    assert len(lines) == 20
    assert lines[0]["machine"] == "mkey:00"
