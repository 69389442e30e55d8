"""Events counted by their first bytes: what a map of counters would be, had the program kept one.

So that a metric over events is a metric over a map. Knows neither buffers nor labels.
"""

import struct
import sys
import threading
from collections.abc import Sequence

from exporter.clock import Clock
from exporter.ebpf.maps import MapInfo, MapRows

MAX_KEYS = 10_240
"""Distinct events that are told apart; further ones are only counted as refused."""


class EventCounts:
    """A BpfMap. Every `flush_interval` seconds it starts over, empty: upstream's way to be rid of
    keys that do not come again. 0 is never."""

    def __init__(self, info: MapInfo, key_size: int, flush_interval: float, clock: Clock) -> None:
        self.refused = 0
        """Events that were told apart from all others when there were too many of them."""
        self.short = 0
        """Events with fewer bytes than the labels want."""
        self._info = info._replace(
            kind="hash", key_size=key_size, value_size=8, value_stride=8, cpus=1
        )
        self._clock, self._interval = clock, flush_interval
        self._flushed = clock.monotonic()
        self._counts: dict[bytes, int] = {}
        self._lock = threading.Lock()

    @property
    def info(self) -> MapInfo:
        return self._info

    def take(self, event: bytes) -> None:
        """One more event; in whichever thread."""
        key = event[: self._info.key_size]
        with self._lock:
            if len(key) < self._info.key_size:
                self.short += 1
            elif key in self._counts or len(self._counts) < MAX_KEYS:
                self._counts[key] = self._counts.get(key, 0) + 1
            else:
                self.refused += 1

    def read(self) -> MapRows:
        now = self._clock.monotonic()
        with self._lock:
            if 0 < self._interval <= now - self._flushed:
                self._flushed = now
                self._counts = {}
            counts = dict(self._counts)
        values = struct.pack(f"={len(counts)}Q", *counts.values())
        return MapRows(b"".join(counts), values, len(counts))

    def put(self, key: bytes, value: bytes) -> None:
        with self._lock:
            self._counts[key] = int.from_bytes(value, sys.byteorder)

    def delete(self, keys: Sequence[bytes]) -> None:
        with self._lock:
            for key in keys:
                self._counts.pop(key, None)
