"""Program files: upstream's format as its users have it, and ours on top."""

from pathlib import Path

import pytest

from exporter.ebpf.labelspec import DecoderSpec, LabelSpec
from exporter.ebpf.metricspec import CounterSpec, HistogramSpec
from exporter.ebpf.spec import (
    CgroupIdMapSpec,
    HookSpec,
    Program,
    ProgramSpec,
    SpanSpec,
    read_program,
)
from exporter.errors import ConfigError

SHIPPED = sorted((Path(__file__).parents[2] / "bpf").glob("*.yaml"))


def read(folder: Path, text: str) -> ProgramSpec:
    path = folder / "program.yaml"
    path.write_text(text)
    return read_program(path).spec


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_program_s_file_is_valid(path: Path) -> None:
    program = read_program(path)
    assert program.name == path.stem
    assert program.object == path.with_name(f"{path.stem}.bpf.o")


def test_the_three_first_programs_are_shipped() -> None:
    assert {"timers", "biolatency", "oomkill"} <= {path.stem for path in SHIPPED}


def test_a_program_is_two_files_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "tcp.v4.yaml"
    path.write_text("metrics: {counters: [{name: a_total}]}\n")
    assert read_program(path) == Program(
        "tcp.v4",
        path,
        tmp_path / "tcp.v4.bpf.o",
        ProgramSpec(metrics=read_program(path).spec.metrics),
    )


def test_counters_as_upstream_writes_them(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """
        metrics:
          counters:
            - name: drops_total
              help: Packets dropped
              perf_event_array: true
              flush_interval: 10s
              labels:
                - name: proto
                  size: 2
                  padding: 2
                  decoders:
                    - name: uint
                    - name: static_map
                      static_map:
                        6: tcp      # numbers as keys
                        0x11: udp
                        1: on
                      allow_unknown: true
                - name: cpu
                  size: 2
                  decoders: [{name: uint}]
        """,
    )
    (counter,) = spec.metrics.counters
    assert counter.flush_interval == 10.0
    assert counter.perf_event_array
    assert counter.labels == (
        LabelSpec(
            "proto",
            2,
            2,
            (
                DecoderSpec("uint"),
                DecoderSpec("static_map", {"6": "tcp", "0x11": "udp", "1": "on"}, True),
            ),
        ),
        LabelSpec("cpu", 2, 0, (DecoderSpec("uint"),)),
    )


@pytest.mark.parametrize(
    "histogram",
    [
        HistogramSpec("a", bucket_type="exp2", bucket_max=26, bucket_multiplier=0.000001),
        HistogramSpec("a", bucket_type="exp2zero", bucket_max=64),
        HistogramSpec("a", bucket_type="linear", bucket_max=20, bucket_multiplier=50),
        HistogramSpec("a", bucket_type="linear", bucket_min=-5, bucket_max=5),
        HistogramSpec("a", bucket_type="fixed", bucket_keys=(0.5, 1, 10), bucket_multiplier=0),
    ],
    ids=lambda histogram: histogram.bucket_type,
)
def test_histograms_of_every_kind(tmp_path: Path, histogram: HistogramSpec) -> None:
    spec = read(
        tmp_path,
        f"""
        metrics:
          histograms:
            - name: a
              bucket_type: {histogram.bucket_type}
              bucket_min: {histogram.bucket_min}
              bucket_max: {histogram.bucket_max}
              bucket_multiplier: {histogram.bucket_multiplier}
              bucket_keys: {list(histogram.bucket_keys)}
        """,
    )
    assert spec.metrics.histograms == (histogram,)


def test_spans_have_free_label_names(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """
        tracing:
          spans:
            - name: migrate
              ringbuf: migrate_spans
              service: sched
              labels:
                - {name: cpu.orig, size: 4, decoders: [{name: uint}]}
        """,
    )
    label = LabelSpec("cpu.orig", 4, 0, (DecoderSpec("uint"),))
    assert spec.tracing.spans == (SpanSpec("migrate_spans", "migrate", "sched", (label,)),)


def test_cgroup_maps_and_kernel_addresses(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """
        metrics: {counters: [{name: a_total}]}
        kaddrs: [jiffies, bpf_jit_current]
        cgroup_id_map:
          name: interesting
          regexps: [^.*(system.slice/.*)$]
        """,
    )
    assert spec.kaddrs == ("jiffies", "bpf_jit_current")
    assert spec.cgroup_id_map == CgroupIdMapSpec("interesting", "hash", ("^.*(system.slice/.*)$",))


def test_keys_without_a_value_count_as_absent_as_upstream_has_it(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """
        name: ignored, the file's name counts
        metrics:
          counters:
            - name: a_total
              help:
              labels:
                # none yet
          histograms:
        kaddrs:
        cgroup_id_map:
        """,
    )
    assert spec.metrics.counters == (CounterSpec("a_total"),)
    assert spec.cgroup_id_map is None


def test_hooks_are_ours(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """
        metrics: {gauges: [{name: a}]}
        hooks:
          - {name: start, any_of: [[start_btf], [start_tp, end_tp]], optional: true}
        """,
    )
    assert spec.hooks == (HookSpec("start", (("start_btf",), ("start_tp", "end_tp")), True),)


def test_a_label_for_the_cpu_needs_no_size_at_the_end(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "metrics: {counters: [{name: a, labels: [{name: port, size: 2}, {name: cpu}]}]}",
    )
    assert spec.metrics.counters[0].labels[1] == LabelSpec("cpu")


def test_a_limit_must_have_room_for_one_label_set(tmp_path: Path) -> None:
    metrics = "metrics: {histograms: [{name: a, bucket_max: 26, max_series: %d}]}"
    assert read(tmp_path, metrics % 30).metrics.histograms[0].max_series == 30
    said = r"max_series: too small, got 29, want at least 30, the lines of one label set"
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, metrics % 29)


def test_a_program_s_file_is_small(tmp_path: Path) -> None:
    path = tmp_path / "program.yaml"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="too big, got 1 MiB, want at most 1 MiB"):
        read_program(path)


def test_good_metrics_beside_bad_ones_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(
            tmp_path,
            "metrics:\n"
            "  counters:\n"
            "    - {nam: a_total}\n"
            "    - {name: b_total, labels: [{name: 1a, size: 4}]}\n"
            "  histograms:\n"
            "    - {name: c_seconds, bucket_max: 100}\n",
        )
    assert [(p.line, p.path) for p in caught.value.problems] == [
        (3, "metrics.counters[0].nam"),
        (3, "metrics.counters[0].name"),
        (4, "metrics.counters[1].labels[0].name"),
        (6, "metrics.histograms[0].bucket_max"),
    ]
