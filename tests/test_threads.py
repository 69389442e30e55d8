"""A blocking call beside the loop: its result, its error, nobody waiting for it at exit; threads
that last, and one that stays apart."""

import asyncio
import subprocess
import sys
import threading

import pytest

from exporter.threads import Apart, Lasting, holding, in_thread, side_by_side


def test_the_result_comes_back_from_another_thread() -> None:
    here = threading.get_ident()
    assert asyncio.run(in_thread(threading.get_ident, "t")) != here


def test_the_error_comes_back_too() -> None:
    def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        asyncio.run(in_thread(fail, "t"))


def test_the_loop_goes_on_meanwhile() -> None:
    async def both() -> str:
        gate = threading.Event()
        waiting = asyncio.create_task(in_thread(lambda: gate.wait(30), "t"))
        await asyncio.sleep(0)
        gate.set()
        return "opened" if await waiting else "late"

    assert asyncio.run(both()) == "opened"


def test_a_call_that_hangs_does_not_keep_the_process() -> None:
    code = (
        "import asyncio, threading\n"
        "from exporter.threads import in_thread\n"
        "async def main():\n"
        "    asyncio.create_task(in_thread(threading.Event().wait, 't'))\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main()); print('ended')"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert (run.stdout, run.stderr) == ("ended\n", "")


def test_side_by_side_gives_results_in_the_items_order() -> None:
    both_here = threading.Barrier(2, timeout=30)

    def work(item: int) -> int:
        if item < 2:
            both_here.wait()  # comes true only if two are at work at once
        return item * 10

    assert side_by_side(work, range(5), 2) == [0, 10, 20, 30, 40]


@pytest.mark.parametrize("threads", [1, 3])
def test_side_by_side_needs_no_more_items_than_there_are(threads: int) -> None:
    assert side_by_side(str, [], threads) == []
    assert side_by_side(str, [1], threads) == ["1"]


def test_threads_that_last_wait_until_they_are_let_go() -> None:
    began = threading.Event()
    thread = Lasting(began.set, "t")
    with holding() as let_go:
        thread.start()
        assert not thread.is_alive() and not began.is_set()
        let_go()
        assert began.wait(30)
        again = threading.Event()
        other = Lasting(again.set, "t")
        other.start()  # nobody is held any more
        assert again.wait(30)
        other.join()
    thread.join()
    thread.join()


def test_one_that_was_never_begun_is_joined_at_once_and_never_will_be() -> None:
    began = threading.Event()
    with holding() as let_go:
        thread = Lasting(began.set, "t")
        thread.start()
        thread.join()
        let_go()
        assert not thread.is_alive()
    assert not began.is_set()


def test_what_stays_apart_runs_in_one_thread_until_its_end() -> None:
    async def play() -> None:
        apart = Apart("t")
        first = await apart.run(threading.current_thread, "a")
        assert await apart.run(threading.current_thread, "b") is first
        assert first is not threading.current_thread()
        with pytest.raises(ValueError, match="x"):
            await apart.run(lambda: int("x"), "c")
        await apart.end()
        assert await apart.run(threading.current_thread, "d") is not first

    asyncio.run(play())


def test_threads_begun_apart_are_whoever_s_ends_it_and_so_are_those_begun_side_by_side() -> None:
    began = [threading.Event(), threading.Event(), threading.Event()]

    def work(event: threading.Event) -> bool:
        thread = Lasting(event.set, "t")
        thread.start()
        return thread.is_alive() or event.is_set()

    async def play() -> None:
        apart = Apart("t")
        assert await apart.run(lambda: side_by_side(work, began, 2), "a") == [False] * 3
        await apart.end()
        assert await in_thread(lambda: all(event.wait(30) for event in began), "b")

    asyncio.run(play())
