"""Threads for what a policy takes: a tenth of a second and more, while the loop goes on.

One checks the policies that somebody wants to set, of all tailnets in turn; one reads those in force, for
joins that wait for it. So what all policies take together is bounded, and no join waits for a check.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

CHECKS = ThreadPoolExecutor(1, thread_name_prefix="policy-checks")
READS = ThreadPoolExecutor(1, thread_name_prefix="policy-reads")


async def apart(thread: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the work returns or raises, when its turn has come."""
    return await asyncio.get_running_loop().run_in_executor(thread, lambda: work(*args, **kwargs))
