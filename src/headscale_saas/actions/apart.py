"""One thread for what a policy takes: a tenth of a second and more, while the loop goes on.

One for all tailnets, so that their policies together take at most half of the interpreter's time.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

THREAD = ThreadPoolExecutor(1, thread_name_prefix="policy")


async def apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the work returns or raises, when its turn has come."""
    return await asyncio.get_running_loop().run_in_executor(THREAD, lambda: work(*args, **kwargs))
