"""Threads: blocking calls in daemon threads of their own, threads that last, one that stays apart.

Not asyncio's pool: Python joins a pool's threads at exit, so one call that hangs (a collector on
a dead FUSE mount) would keep SIGTERM from ending the process. What a process lets go of
(privileges) is each thread's own matter and goes to those that it starts: threads that last wait
until then (`holding`), and what needs more is called in one that was there before (`Apart`).
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_thread(call: Callable[[], T], name: str) -> T:
    """call()'s result, or its exception. Cancelling the await leaves the call running, unheard.

    Starting the thread takes some 50 µs, so this is for calls that happen a few times a second.
    """
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    threading.Thread(target=_answering(call, future), name=name, daemon=True).start()
    return await future


def _answering(call: Callable[[], T], future: "asyncio.Future[T]") -> Callable[[], None]:
    """To be called in another thread than the future's loop. Raises nothing."""
    loop = future.get_loop()

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

    return work


def side_by_side(work: Callable[[T], R], items: Sequence[T], threads: int) -> list[R]:
    """work(item) of each item, so many at once; the results in the items' order. `work` raises
    nothing. For calls that leave Python for long: others run only then."""
    results: dict[int, R] = {}
    lock, left = threading.Lock(), iter(enumerate(items))
    held = _waiting_here()

    def run() -> None:
        _here.waiting = held
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


class Lasting:
    """A daemon thread that lasts as long as its owner. `start` once; `join` as often as wanted,
    and one that was never begun never will be."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._thread = threading.Thread(target=target, name=name, daemon=True)
        self._lock = threading.Lock()
        self._ended = self._begun = False

    def start(self) -> None:
        """At once, or when those that are held are let go."""
        waiting = _waiting_here()
        if waiting is not None:
            waiting.append(self)
        else:
            self.begin()

    def begin(self) -> None:
        with self._lock:
            if not self._ended and not self._begun:
                self._begun = True
                self._thread.start()

    def join(self, seconds: float | None = None) -> None:
        with self._lock:
            self._ended = True
        if self._begun:
            self._thread.join(seconds)

    def is_alive(self) -> bool:
        return self._thread.is_alive()


class _Here(threading.local):
    waiting: list[Lasting] | None = None


_here = _Here()


def _waiting_here() -> list[Lasting] | None:
    """Those that wait and were started in this thread; None: nobody is held."""
    return _here.waiting


@contextmanager
def holding() -> Iterator[Callable[[], None]]:
    """Lasting threads that this one starts meanwhile wait until what this yields is called, or this
    ends. Threads that it starts hold nobody."""
    _here.waiting = waiting = list[Lasting]()

    def let_go() -> None:
        _here.waiting = None
        while waiting:
            waiting.pop(0).begin()

    try:
        yield let_go
    finally:
        let_go()


class Apart:
    """One thread that keeps what others let go of; made before they do. Calls run one at a time;
    lasting threads that they start are begun by whoever calls `end`, and so have what that has."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: list[Lasting] = []
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[], T], name: str) -> T:
        """As in_thread, which it is after the end."""
        if self._ended:
            return await in_thread(call, name)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put(_answering(call, future))
        return await future

    async def end(self) -> None:
        """When all calls are done. To be called once, in the loop."""
        self._ended = True
        self._calls.put(None)
        await in_thread(self._thread.join, self._thread.name)
        while self._waiting:
            self._waiting.pop(0).begin()

    def _run(self) -> None:
        _here.waiting = self._waiting
        while (call := self._calls.get()) is not None:
            call()
