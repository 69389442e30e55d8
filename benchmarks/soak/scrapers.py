"""The clients of the soak, in one process: fifty scrapers, and as many that behave badly.

Arguments: JSON lines' FILE, seconds between two scrapes, then NAME=PORT of each agent. Each scraper
asks every agent once in that time, at a moment of its own; once a minute all ask at once.
"""

import asyncio
import random
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TextIO

from benchmarks.soak import rude
from benchmarks.soak.scraping import FORMATS, Scraper

SCRAPERS = 50
BURST_SECONDS = 60.0
RUDE = {
    rude.trickle: 20,
    rude.silent: 15,
    rude.vanish: 15,
    rude.slow_reader: 10,
    rude.babble: 5,
}
"""How many of each, of each agent."""


async def scrape(number: int, agents: dict[str, int], every: float, out: TextIO) -> None:
    dice = random.Random(number)
    names = sorted(FORMATS)
    scrapers = [
        Scraper(agent, port, names[number % 2], zipped=number % 5 != 0, keeps=number % 3 != 0)
        for agent, port in agents.items()
    ]

    async def one(scraper: Scraper) -> None:
        out.write((await scraper.scrape()).line() + "\n")

    phase = dice.uniform(0, every)
    while True:
        begin = time.monotonic()
        for place, scraper in enumerate(scrapers):
            due = begin + (phase + place * every / len(scrapers)) % every
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await one(scraper)
        until_next = begin + every - time.monotonic()
        until_burst = BURST_SECONDS - time.monotonic() % BURST_SECONDS
        if until_burst < until_next:
            await asyncio.sleep(until_burst)
            await asyncio.gather(*map(one, scrapers))
        await asyncio.sleep(max(0.0, begin + every - time.monotonic()))


async def main(file: Path, every: float, agents: dict[str, int]) -> None:
    with file.open("a", buffering=1) as out:
        asked: list[Coroutine[Any, Any, None]] = [
            scrape(number, agents, every, out) for number in range(SCRAPERS)
        ]
        asked += [
            rude.again_and_again(kind, port)
            for port in agents.values()
            for kind, count in RUDE.items()
            for _ in range(count)
        ]
        await asyncio.gather(*asked)


if __name__ == "__main__":
    named = (each.partition("=") for each in sys.argv[3:])
    ports = {name: int(port) for name, _, port in named}
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]), ports))
