"""No test waits for ever. At its limit an `async def` test fails with where each of its tasks waits.

pytest's own limit comes later: it ends the whole process, and can only say that the loop was waiting.
"""

import asyncio
import gc
import warnings
from collections.abc import Collection, Coroutine, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

import uvloop

ENDING_SECONDS = 10.0
DEEPEST = 30

Tasks = Collection[asyncio.Task[Any]]


class TooLate(AssertionError):
    """The test, or what it left behind, did not end."""


class LeftOpen(AssertionError):
    """The test passed, but did not close what it had opened."""


def run(test: Coroutine[Any, Any, None], seconds: float) -> None:
    """Runs a test in a loop of its own, so nothing leaks from one to the next. Raises what the test raises,
    TooLate, or LeftOpen."""
    __tracebackhide__ = True
    left: list[str] = []
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with ExitStack() as stack:
        stack.callback(lambda: left.extend(close(runner)))
        try:
            runner.run(within(seconds, test))
        except TooLate:
            stack.pop_all()  # closing the loop would wait for the very task that does not end
            raise
    if left:
        raise LeftOpen("\n".join(left))


def close(runner: asyncio.Runner) -> list[str]:
    """Closes the loop and returns what had been left open in it.

    uvloop warns of each before it closes it. A warning that is an error here keeps it from closing, and then
    it waits for that connection for ever.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runner.close()
    return [str(warning.message) for warning in caught]


async def within(seconds: float, test: Coroutine[Any, Any, None]) -> None:
    """Raises TooLate after so many seconds, else what the test raises; ends the tasks that it left."""
    __tracebackhide__ = True
    task = asyncio.create_task(test, name="the test")
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise TooLate(f"after {seconds:.0f} s it still waits:\n{whereabouts(asyncio.all_tasks())}")
    finally:
        await end(asyncio.all_tasks() - {asyncio.current_task()})
    task.result()


async def end(tasks: Tasks) -> None:
    """Cancels again and again: `asyncio.wait_for` may lose a cancellation (until Python 3.12)."""
    left = set(tasks)
    for _ in range(int(ENDING_SECONDS * 2)):
        for task in left:
            task.cancel()
        if left:
            _, left = await asyncio.wait(left, timeout=0.5)
    if left:
        raise TooLate(f"cancelled for {ENDING_SECONDS:.0f} s, these go on:\n{whereabouts(left)}")


def whereabouts(tasks: Tasks) -> str:
    """A paragraph for each task: its name, and the lines that wait for each other."""
    return "\n".join(f"  {task.get_name()}\n    " + "\n    ".join(places(task)) for task in tasks)


def places(task: asyncio.Task[Any]) -> list[str]:
    """From the task's own function down to what it awaits."""
    found: list[str] = []
    awaited: Any = task.get_coro()
    while awaited is not None and len(found) < DEEPEST:
        frame, beneath = _look(awaited)
        if frame is not None:
            found.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}")
        elif beneath is None and not found:
            found.append(repr(awaited))
        awaited = beneath
    return found


def _look(awaited: Any) -> tuple[Any, Any]:
    """The frame of something awaited, and what that awaits."""
    for kind, prefix in ((CoroutineType, "cr"), (AsyncGeneratorType, "ag"), (GeneratorType, "gi")):
        if isinstance(awaited, kind):
            beneath = getattr(awaited, "gi_yieldfrom" if prefix == "gi" else f"{prefix}_await")
            return getattr(awaited, f"{prefix}_frame"), beneath
    return None, next(_hidden(awaited), None)


def _hidden(awaited: Any) -> Iterator[Any]:
    """A step of an asynchronous generator does not name it."""
    if not isinstance(awaited, asyncio.Future):
        for object_ in gc.get_referents(awaited):
            if isinstance(object_, CoroutineType | AsyncGeneratorType | GeneratorType):
                yield object_
