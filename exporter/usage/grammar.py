"""The names of usage gauges: what can be asked for under usage.metrics, and what is there anyway.

    <resource>_usage_active
    <resource>_usage_<avg|min|max|p95|max_avg>_<window>

Pure: text in, meaning out; used by the configuration's checks, so it must not know them, and by
those who compute.
"""

import re
from typing import Literal, NamedTuple, cast

Function = Literal["active", "avg", "min", "max", "p95", "max_avg"]

RESOURCES = ("cpu", "mem", "disk", "disk_io", "net", "load", "steal")
AVG_SECONDS = 300.0  # max_avg is the maximum of the mean over so long (crane's rules)
BUILT_IN = ("active", "avg_5m", "max_avg_1h", "max_avg_1d")
NODE_METRICS = tuple(f"{resource}_usage_{what}" for resource in ("cpu", "mem") for what in BUILT_IN)
"""What /statistics always shows, in node-metrics' order."""
GRAMMAR = (
    "<resource>_usage_active or <resource>_usage_<avg|min|max|p95|max_avg>_<window>, "
    f"a resource being {', '.join(RESOURCES[:-1])} or {RESOURCES[-1]}, a window 5m, 1h, 1d or such"
)
PATTERN = rf"^({'|'.join(RESOURCES)})_usage_(active|(avg|min|max|p95|max_avg)_(([0-9]+[smhd])+))$"
_NAME = re.compile(PATTERN)
_WINDOW = re.compile(r"(?:[0-9]+[smhd])+")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class UsageName(NamedTuple):
    """`window` in seconds; 0 for active, which is about the last interval."""

    name: str
    resource: str
    function: Function
    window: float


def parse(name: str) -> UsageName:
    """Raises ValueError with what is wrong with the name; GRAMMAR says what is right."""
    match = _NAME.fullmatch(name) if len(name) < 100 else None
    if match is None:
        raise ValueError("no such metric")
    resource, _, function, window, _ = match.groups()
    if function is None:
        return UsageName(name, resource, "active", 0.0)
    seconds = _seconds(window)
    if seconds <= 0:
        raise ValueError("no such window")
    if function == "max_avg" and seconds < AVG_SECONDS:
        raise ValueError("window too short for a maximum of 5-minute means")
    return UsageName(name, resource, cast(Function, function), seconds)


def parse_window(text: str) -> float:
    """Seconds. Raises ValueError."""
    seconds = _seconds(text) if len(text) < 32 and _WINDOW.fullmatch(text) else 0.0
    if seconds <= 0:
        raise ValueError("no window, want 5m, 1h, 1d or such")
    return seconds


def _seconds(text: str) -> float:
    return float(sum(int(n) * _SECONDS[unit] for n, unit in re.findall("([0-9]+)([smhd])", text)))


def default_names() -> tuple[str, ...]:
    """The four of every resource."""
    return tuple(f"{resource}_usage_{what}" for resource in RESOURCES for what in BUILT_IN)
