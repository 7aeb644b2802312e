"""The one place in the tests that looks again and again, for what tells nobody that it changed.

    await until(lambda: len(hub) == 2)
    await until(is_refused, within=30)

What has an event, a future or an answer is awaited itself. Without a loop (processes, files) `hold_until`.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

Condition = Callable[[], object | Awaitable[object]]
Told = Callable[[], object]
"""What is said of a condition that never held."""

SHORTEST_SECONDS = 0.001
LONGEST_SECONDS = 0.02
LONGEST_REST_SECONDS = 0.05


async def until(condition: Condition, *, within: float = 10.0, told: Told | None = None) -> None:
    """Returns once the condition, of either kind, holds, else fails. What the condition raises is raised."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(within) as limit:
            while True:
                looked = time.monotonic()
                found = condition()
                if await found if inspect.isawaitable(found) else found:
                    return
                await asyncio.sleep(_pause(began, looked, time.monotonic()))
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(_missed(condition, within, told)) from None


def hold_until(condition: Callable[[], object], *, within: float = 30.0, told: Told | None = None) -> None:
    """The same for a thread that has no loop."""
    began = time.monotonic()
    while not condition():
        now = time.monotonic()
        assert now - began < within, _missed(condition, within, told)
        time.sleep(_pause(began, now, now))


def _pause(began: float, looked: float, now: float) -> float:
    """A tenth of what was waited so far; after a look that took long, as long again, for the others' sake."""
    rest = min(now - looked, LONGEST_REST_SECONDS)
    return max(rest, min(max((now - began) / 10, SHORTEST_SECONDS), LONGEST_SECONDS))


def _missed(condition: Condition, within: float, told: Told | None) -> str:
    code = getattr(condition, "__code__", None)
    place = f" ({Path(code.co_filename).name}:{code.co_firstlineno})" if code else ""
    name = getattr(condition, "__name__", repr(condition))
    return f"not within {within:g} s: {name}{place}" + (f"\n{told()}" if told else "")
