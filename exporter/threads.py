"""Blocking calls in daemon threads of their own: one awaited from the loop, or several at once.

Not asyncio's pool: Python joins a pool's threads at exit, so one call that hangs (a collector on
a dead FUSE mount) would keep SIGTERM from ending the process.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


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


def side_by_side(work: Callable[[T], R], items: Sequence[T], threads: int) -> list[R]:
    """work(item) of each item, so many at once; the results in the items' order. `work` raises
    nothing. For calls that leave Python for long: others run only then."""
    results: dict[int, R] = {}
    lock, left = threading.Lock(), iter(enumerate(items))

    def run() -> None:
        while True:
            with lock:
                place, item = next(left, (None, None))
            if place is None:
                return
            results[place] = work(item)  # type: ignore[arg-type] # an item may itself be None

    others = [threading.Thread(target=run, daemon=True) for _ in range(threads - 1)]
    for thread in others:
        thread.start()
    run()
    for thread in others:
        thread.join()
    return [results[place] for place in range(len(items))]
