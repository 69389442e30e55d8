"""A blocking call beside the loop: its result, its error, and nobody waiting for it at exit."""

import asyncio
import subprocess
import sys
import threading

import pytest

from exporter.threads import in_thread, side_by_side


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
