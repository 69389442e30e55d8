"""What is said of eBPF programs beside their own metrics: the families, by name and help.

The names that ebpf_exporter has for such facts begin with the configured prefix (`upstream`).
"""

from typing import NamedTuple

from exporter.metrics.table import Kind


class Fact(NamedTuple):
    kind: Kind
    name: str
    documentation: str
    labels: tuple[str, ...]


UP = Fact("gauge", "kernmesh_ebpf_program_up", "Whether the program runs.", ("program",))
OFF = Fact(
    "gauge",
    "kernmesh_ebpf_program_off_info",
    "Why a program that is wanted does not run.",
    ("program", "reason"),
)
HOOK = Fact(
    "gauge", "kernmesh_ebpf_hook_info", "Hooks that the program has got.", ("program", "hook")
)
BACKEND = Fact(
    "gauge",
    "kernmesh_ebpf_backend_info",
    "Who loaded the program: core (libbpf) or bcc.",
    ("program", "backend"),
)
ENTRIES = Fact(
    "gauge", "kernmesh_ebpf_map_entries", "Entries at the last read.", ("program", "map")
)
MAX_ENTRIES = Fact(
    "gauge", "kernmesh_ebpf_map_max_entries", "Entries that fit.", ("program", "map")
)
BYTES = Fact(
    "gauge", "kernmesh_ebpf_map_bytes", "Kernel memory that the map holds.", ("program", "map")
)
REFUSED = Fact(
    "counter",
    "kernmesh_ebpf_map_refused_updates_total",
    "Updates that the kernel refused, mostly because the map is full.",
    ("program", "map"),
)
EVICTED = Fact(
    "counter",
    "kernmesh_ebpf_map_evicted_keys_total",
    "Keys taken out of the map because they had stopped changing (evict_after).",
    ("program", "map"),
)
SPANS = Fact(
    "counter",
    "kernmesh_ebpf_spans_total",
    "Spans made of the records of a ring buffer and given to the OTLP exporter.",
    ("program", "map"),
)
MISSED = Fact(
    "counter",
    "kernmesh_ebpf_missed_runs_total",
    "Events that the kernel did not show the program, as the CPU was in the same function already.",
    ("program",),
)
LOST = Fact(
    "counter",
    "kernmesh_ebpf_events_lost_total",
    "Events that found no room in their buffer, or were too short to be counted.",
    ("program", "map"),
)
COUNTED = Fact(
    "counter",
    "kernmesh_ebpf_events_counted_total",
    "Events that the program has counted: those of its busiest counter or histogram.",
    ("program",),
)
FOLDED = Fact(
    "gauge",
    "kernmesh_ebpf_series_folded",
    'Map keys over max_series, summed into label value "other".',
    ("family",),
)
CACHED = Fact(
    "gauge",
    "kernmesh_ebpf_label_cache_entries",
    "Decoded map keys that are kept; they go with the keys.",
    ("family",),
)
FROM_MAPS = frozenset((ENTRIES.name, FOLDED.name, CACHED.name, COUNTED.name))
"""Those that a scrape's reads of maps leave behind: asked for alone, the maps must be read too."""

OWN = (
    *(UP, OFF, HOOK, ENTRIES, MAX_ENTRIES, BYTES, REFUSED, EVICTED, SPANS, MISSED, LOST),
    *(FOLDED, CACHED, BACKEND, COUNTED),
)


class Upstream(NamedTuple):
    """Facts under the names that ebpf_exporter has for them."""

    configs: Fact
    errors: Fact
    info: Fact
    attached: Fact
    run_time: Fact
    run_count: Fact


def upstream(prefix: str) -> Upstream:
    """`prefix` is ebpf.prefix."""
    return Upstream(
        configs=Fact("gauge", f"{prefix}_enabled_configs", "The programs that run.", ("name",)),
        errors=Fact(
            "counter",
            f"{prefix}_decoder_errors_total",
            "Map keys that could not be decoded, each once while it lives.",
            ("config",),
        ),
        info=Fact(
            "gauge",
            f"{prefix}_ebpf_program_info",
            "BPF functions in the kernel.",
            ("config", "program", "tag", "id"),
        ),
        attached=Fact(
            "gauge", f"{prefix}_ebpf_program_attached", "Whether it is attached.", ("id",)
        ),
        run_time=Fact(
            "counter",
            f"{prefix}_ebpf_program_run_time_seconds",
            "Time that it ran, while kernel.bpf_stats_enabled is 1.",
            ("id",),
        ),
        run_count=Fact(
            "counter",
            f"{prefix}_ebpf_program_run_count_total",
            "How often it ran, while kernel.bpf_stats_enabled is 1.",
            ("id",),
        ),
    )
