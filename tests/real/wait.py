"""Waiting: always on a condition, always with a deadline."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def until(what: str, condition: Callable[[], T], seconds: float = 30, every: float = 0.1) -> T:
    """Returns the first true value of `condition`; past the deadline fails saying the last value seen.

    A condition may raise AssertionError, OSError, ValueError (JSON not there yet) or KeyError meanwhile.
    """
    deadline = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (AssertionError, OSError, ValueError, KeyError) as error:
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; at last: {last!r}")
        time.sleep(every)


def together(action: Callable[[T], U], items: Iterable[T], at_once: int = 12) -> list[U]:
    """`action` of each item, in threads; the first error is raised after all have ended."""
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(action, item) for item in items]
    return [future.result() for future in futures]


def until_each(what: str, items: Iterable[T], condition: Callable[[T], object], seconds: float = 30) -> None:
    """Waits until the condition holds of every item, all at once."""
    together(lambda item: until(f"{item}: {what}", lambda: condition(item), seconds), items)
