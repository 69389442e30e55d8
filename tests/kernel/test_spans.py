"""Spans from the running kernel to a collector."""

import time
from pathlib import Path
from textwrap import dedent

import pytest

from exporter.decoders import DecodeContext
from exporter.ebpf.check import check_programs
from exporter.ebpf.spec import Program, read_program
from exporter.ebpf.start import Settings, start
from exporter.otlp import SpanExport
from tests.agent.running import running
from tests.kernel.test_program_yaml import OWN, ask_priorities
from tests.otlp_receiver import receiving

pytestmark = pytest.mark.bpf

YAML = """
    tracing:
      spans:
        - ringbuf: calls
          name: getpriority
          service: calls
          labels:
            - {name: trace_id, size: 16, decoders: [{name: hex}]}
            - {name: span_id, size: 8, decoders: [{name: hex}]}
            - {name: parent_span_id, size: 8, decoders: [{name: hex}]}
            - {name: span_monotonic_timestamp_ns, size: 8, decoders: [{name: uint}]}
            - {name: span_duration_ns, size: 8, decoders: [{name: uint}]}
            - {name: pid, size: 4, decoders: [{name: uint}]}
            - {name: size, size: 4, decoders: [{name: uint}]}
"""


def spans_program(compiled: Path, folder: Path) -> Program:
    file = folder / "spans.yaml"
    file.write_text(dedent(YAML))
    program = Program("spans", file, compiled / "spans.bpf.o", read_program(file).spec)
    assert check_programs([program]) == []
    return program


def test_records_of_a_ring_buffer_arrive_as_spans(compiled: Path, tmp_path: Path) -> None:
    program = spans_program(compiled, tmp_path)
    with receiving() as receiver:
        export = SpanExport(receiver.address)
        collector = start(program, Settings("e", 100, spans=export.send), DecodeContext.of())
        began = time.time_ns()
        try:
            assert collector.problems == ()
            ask_priorities(1, 2, 3)
        finally:
            collector.loaded.close()
            export.close()
        ended = time.time_ns()
    own = {}
    for service, span in receiver.spans:
        attributes = {each.key: each.value.string_value for each in span.attributes}
        assert (service, span.name) == ("calls", "getpriority")
        assert set(attributes) == {"pid", "size"}
        if attributes["pid"] == OWN["pid"]:
            own[attributes["size"]] = span
    assert set(own) == {"1", "2", "3"}
    span = own["2"]
    assert span.trace_id == b"\xab" + bytes(14) + b"\2"
    assert span.parent_span_id == bytes.fromhex("1122334455667788")
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_000_000
    slack = 10_000_000  # between reading one clock and the other
    assert began - slack <= span.start_time_unix_nano <= ended + slack
    assert len({each.span_id for each in own.values()}) == 3


def test_without_a_collector_spans_are_off_and_the_page_says_so(
    compiled: Path, tmp_path: Path
) -> None:
    program = spans_program(compiled, tmp_path)
    collector = start(program, Settings("e", 100), DecodeContext.of())
    try:
        assert collector.problems == ("tracing.spans are off: ebpf.otlp names no collector",)
        assert collector.loaded.lost_events() == {}
    finally:
        collector.loaded.close()


def test_the_agent_sends_what_is_left_before_it_ends(compiled: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir(mode=0o755)
    program = spans_program(compiled, programs)
    (programs / "spans.bpf.o").write_bytes(program.object.read_bytes())
    config = tmp_path / "agent.yaml"
    with receiving() as receiver:
        config.write_text(
            f"ebpf: {{programs: [spans], dirs: [{programs}], otlp: '{receiver.address}'}}\n"
        )
        with running("--config", config) as agent:
            agent.wait_for(lambda agent: "metrics: " in agent.screen)
            ask_priorities(7)
            assert agent.stop() == 0
        sizes = [
            each.value.string_value
            for _, span in receiver.spans
            for each in span.attributes
            if each.key == "size"
        ]
    assert "7" in sizes
