"""A blocking call in a daemon thread of its own, awaited from the loop.

Not asyncio's pool: Python joins a pool's threads at exit, so one call that hangs (a collector on
a dead FUSE mount) would keep SIGTERM from ending the process.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(call: Callable[[], T], name: str) -> T:
    """call()'s result, or its exception. Cancelling the await leaves the call running, unheard.

    Starting the thread takes some 50 µs, so this is for calls that happen a few times a second.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():  # cancelled meanwhile
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type] # T may itself be optional
        else:
            future.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as raised:
            error = raised
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(settle, result, error)
            except RuntimeError:  # the loop closed in between: nobody waits any more
                return

    threading.Thread(target=work, name=name, daemon=True).start()
    return await future
