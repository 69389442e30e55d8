"""`kernmesh top`: an agent, live in a terminal."""

import argparse

from exporter.errors import KernmeshError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url",
        default="http://localhost:9435",
        metavar="URL",
        help="the agent, or its HOST:PORT (default %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--cacert", metavar="FILE", help="certificates to trust, for https")


def run(arguments: argparse.Namespace) -> int:
    url = arguments.url if "://" in arguments.url else f"http://{arguments.url}"
    if not 0.5 <= arguments.interval <= 3600:
        raise KernmeshError("--interval: want 0.5 to 3600 seconds")
    import time

    from rich.console import Console
    from rich.live import Live

    from exporter.clock import SystemClock
    from exporter.terminal.asking import Asker, open_client
    from exporter.terminal.frame import away, frame

    console = Console(highlight=False)
    with open_client(arguments.cacert) as client:
        asker = Asker(client, url, SystemClock())
        if arguments.once:
            asker.ask()  # rates are between two answers
            time.sleep(min(arguments.interval, 1.0))
            console.print(frame(asker.ask()))
            return 0
        with Live(console=console, screen=True, auto_refresh=False) as live:
            try:
                while True:
                    try:
                        seen = asker.ask()
                        live.update(frame(seen, max(5, console.height - 34)), refresh=True)
                    except KernmeshError as error:
                        live.update(away(str(error), arguments.interval), refresh=True)
                    time.sleep(arguments.interval)
            except KeyboardInterrupt:
                return 0
