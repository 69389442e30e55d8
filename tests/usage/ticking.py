"""Run as a process: ticks a store without end and says each row once it is stored. For being
killed."""

import sys
from pathlib import Path

from exporter.usage.series import Series
from exporter.usage.store import Now, open_file

NUMBER = Series("test.number", "gauge")
TOTAL = Series("test.total", "counter")


def main() -> None:
    store, _ = open_file(Path(sys.argv[1]), 10.0, 86400.0, Now(0.0, 0.0, "boot"))
    for number in range(1, 1_000_000):
        values = {NUMBER: float(number), TOTAL: 3.0 * number}
        # New series now and then, so that directories and growth are killed too.
        values.update({Series(f"test.extra{n}", "gauge"): 1.0 for n in range(number // 50 % 40)})
        store.put(10.0 * number, 10.0 * number, values)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
