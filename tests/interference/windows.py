"""A View from tables of samples, for tests of what looks at one."""

from collections.abc import Mapping, Sequence

from exporter.interference.model import NODE, Subject
from exporter.usage.window import Window

NOW = 1000.0


def every(seconds: float, values: Sequence[float | None], end: float = NOW) -> Window:
    """One sample each so many seconds, the last at `end`; None: not known then."""
    times = [end - seconds * back for back in range(len(values) - 1, -1, -1)]
    rows = [(at, v) for at, v in zip(times, values, strict=True) if v is not None]
    return Window([at for at, _ in rows], [seconds] * len(rows), [v for _, v in rows])


class TableView:
    """A View (model.py) over windows by signal."""

    def __init__(
        self,
        signals: Mapping[str, Window | Sequence[float | None]],
        subject: Subject = NODE,
        devices: Sequence[str] = (),
        now: float = NOW,
    ) -> None:
        self._windows = {
            name: known if isinstance(known, Window) else every(1.0, known)
            for name, known in signals.items()
        }
        self._subject, self._devices, self._now = subject, tuple(devices), now

    @property
    def now(self) -> float:
        return self._now

    @property
    def subject(self) -> Subject:
        return self._subject

    def value(self, signal: str) -> float | None:
        known = self._windows.get(signal)
        if known is None or not known.values:
            return None
        late = self._now - known.elapsed[-1]
        return known.values[-1] if late < max(known.spans[-1], 1e-9) else None

    def window(self, signal: str, seconds: float) -> Window:
        known = self._windows.get(signal, Window((), (), ()))
        rows = [
            row for row in zip(*known, strict=True) if self._now - seconds < row[0] <= self._now
        ]
        return Window([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])

    def devices(self) -> Sequence[str]:
        return self._devices
