"""Loops that go on while a server serves, on its event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

Loop = Callable[[], Coroutine[Any, Any, None]]
"""Goes on until it is cancelled."""


async def beside(loops: Sequence[Loop], serving: Coroutine[Any, Any, None]) -> None:
    """Serve until that ends, and let the loops go on meanwhile."""
    tasks = [asyncio.create_task(loop()) for loop in loops]
    try:
        await serving
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
