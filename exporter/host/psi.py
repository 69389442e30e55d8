"""Pressure (PSI): how long tasks waited for cpu, memory, io; of the node and of cgroups.

Totals only: rates over a window are the store's. Where PSI is absent that is said once and is no
error. Kernel: Documentation/accounting/psi.rst, kernel/sched/psi.c psi_show().
"""

import errno
import logging
import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client import Metric

from exporter.errors import KernmeshError, NoData
from exporter.host.open_files import Descriptors, Gone, OpenFiles
from exporter.host.text import read_text
from exporter.hostfs import HostFs
from exporter.metrics.table import Kept, Shape
from exporter.usage.series import Series

RESOURCES = ("cpu", "memory", "io")
_NODE_RESOURCES = (*RESOURCES, "irq")

log = logging.getLogger(__name__)


class Pressure(NamedTuple):
    """Seconds since boot, or since the cgroup was made, in which some task waited for the
    resource, and in which all that were not idle did. None where the kernel does not say: irq
    has no "some", and the node's cpu no "full" that means anything (psi.rst: undefined there)."""

    some: float | None
    full: float | None


def parse_pressure(text: bytes, place: str = "pressure") -> Pressure:
    """From a pressure file's text. Raises KernmeshError where a line is not as psi.rst has it."""
    found: dict[bytes, float] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(b" ")
        total = rest.rpartition(b"total=")[2]
        if kind not in (b"some", b"full") or not total.isdigit() or len(total) > 20:
            raise KernmeshError(f"{place}: got {line!r}, want some|full avg10= … total=<µs>")
        found[kind] = int(total) / 1e6
    return Pressure(found.get(b"some"), found.get(b"full"))


class PressureReader:
    """Reads the pressure files of one folder again and again: a cgroup's, or /proc/pressure."""

    __slots__ = ("_files", "_last", "_resources", "_texts")

    def __init__(
        self,
        folder: str,
        budget: Descriptors,
        resources: tuple[str, ...] = RESOURCES,
        suffix: str = ".pressure",
    ) -> None:
        self._resources = resources
        self._files = OpenFiles([f"{folder}/{name}{suffix}" for name in resources], budget)
        self._texts: list[bytes | None] = []
        self._last: dict[str, Pressure] = {}

    def read(self) -> dict[str, Pressure]:
        """By resource; what there is no file of is not in it. Raises Gone where there is none at
        all, KernmeshError where a text makes no sense."""
        texts = self._files.read()
        if texts != self._texts:  # most cgroups wait for nothing most of the time
            pairs = zip(self._resources, texts, strict=True)
            self._last = {name: parse_pressure(text, name) for name, text in pairs if text}
            self._texts = texts
        return self._last

    def close(self) -> None:
        self._files.close()


class PressureSeries:
    """`<thing>.psi.<resource>.<some|full>_seconds`: what the store keeps of a thing's pressure."""

    __slots__ = ("_of", "_series", "_values")

    def __init__(self, thing: str, resources: tuple[str, ...] = RESOURCES) -> None:
        self._series = {
            (resource, kind): Series(f"{thing}.psi.{resource}.{kind}_seconds", "counter")
            for resource in resources
            for kind in Pressure._fields
        }
        self._of: Mapping[str, Pressure] | None = None
        self._values: Mapping[Series, float] = {}

    def values(self, pressures: Mapping[str, Pressure]) -> Mapping[Series, float]:
        """Of one reading; the same mapping as before where that is the reading of before."""
        if pressures is not self._of:
            self._of = pressures
            self._values = {
                self._series[resource, kind]: value
                for resource, pressure in pressures.items()
                for kind, value in zip(Pressure._fields, pressure, strict=True)
                if value is not None
            }
        return self._values


_WORDS = {
    "some": ("waiting", "some task waited for"),
    "full": ("stalled", "no task could work for want of"),
}
_SHAPES = {
    (resource, kind): Shape(
        "counter",
        f"node_pressure_{resource}_{word}_seconds_total",
        f"Time in which {what} {resource}.",
    )
    for resource in _NODE_RESOURCES
    for kind, (word, what) in _WORDS.items()
}


class NodePressure:
    """The node's own: a source of the store and a collector, under node_exporter's names. Each
    caller gets a reading of its own; any thread may call."""

    def __init__(self, fs: HostFs) -> None:
        self._place = fs.proc / "pressure"
        self._reader = PressureReader(
            str(self._place), Descriptors(len(_NODE_RESOURCES)), _NODE_RESOURCES, ""
        )
        self._series = PressureSeries("node", _NODE_RESOURCES)
        self._families = {key: Kept(shape) for key, shape in _SHAPES.items()}
        self._turn = threading.Lock()
        self._said = False

    def pressures(self) -> dict[str, Pressure]:
        """Empty where this kernel has no PSI. Raises OSError where it cannot be read."""
        with self._turn:
            try:
                found = self._reader.read()
            except Gone:
                found = {}
                self._tell_unreadable()
            if not found and not self._said:
                self._said = True
                log.info(self._absent())
            if "cpu" in found:
                return {**found, "cpu": found["cpu"]._replace(full=None)}
            return found

    def _tell_unreadable(self) -> None:
        """Not there (no CONFIG_PSI) and not on (EOPNOTSUPP) is absent; all else is a failure."""
        try:
            read_text(str(self._place / "cpu"))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise

    def _absent(self) -> str:
        return (
            f"{self._place}: no pressure (PSI) here: the kernel has no CONFIG_PSI, or was "
            "started without psi=1; nothing else depends on it"
        )

    def read(self, now: float) -> Mapping[Series, float]:
        """For the store: node.psi.<resource>.<some|full>_seconds."""
        return self._series.values(self.pressures())

    def collect(self) -> Iterable[Metric]:
        """Raises NoData where there is no PSI."""
        found = self.pressures()
        if not found:
            raise NoData(self._absent())
        for resource, pressure in found.items():
            for kind, value in zip(Pressure._fields, pressure, strict=True):
                if value is not None:
                    yield self._families[resource, kind].family({(): value})
