"""Awaiting what calls back."""

from collections.abc import Callable

import trio


async def carried(send: Callable[[Callable[[bool], None]], None]) -> bool:
    """What `send` calls back with, once it does."""
    called = trio.Event()
    results: list[bool] = []

    def done(result: bool) -> None:
        results.append(result)
        called.set()

    send(done)
    await called.wait()
    return results[0]
