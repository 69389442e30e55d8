"""One line out of a verifier's log: what is wrong, not where it was on the way there."""

import pytest

from exporter.ebpf.verifier import telling_line

LOGS = {
    "": "",
    # 6.18, a second argument where there is one
    """0: R1=ctx() R10=fp0
; int BPF_PROG(f, void *queue, struct request *rq) @ x.bpf.c:171
0: (79) r1 = *(u64 *)(r1 +8)
func 'block_rq_insert' doesn't have 2-th argument
invalid bpf_context access off=8 size=8
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
""": "func 'block_rq_insert' doesn't have 2-th argument",
    # 6.1, with the function's header before
    """reg type unsupported for arg#0 function f#12
0: R1=ctx(off=0,imm=0) R10=fp0
; return *(u64 *)expires;
0: (79) r1 = *(u64 *)(r1 +8)          ; R1_w=scalar()
1: (79) r0 = *(u64 *)(r1 +0)
R1 invalid mem access 'scalar'
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
""": "R1 invalid mem access 'scalar'",
    # 5.10, which prints states with a leading space and no "=" spaces
    """Unrecognized arg#0 type PTR
; int f(struct pt_regs *ctx)
0: (b7) r2 = 0
1: R1=ctx(id=0,off=0,imm=0) R2_w=inv0 R10=fp0
1: (71) r0 = *(u8 *)(r2 +0)
R2 invalid mem access 'inv'
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
""": "R2 invalid mem access 'inv'",
    # an access out of bounds: the first of two lines names it
    """12: (7b) *(u64 *)(r3 +0) = r2
 R0=map_value(ks=4,vs=240) R2=scalar() R3=map_value(ks=4,vs=240,smax=2040)
invalid access to map value, value_size=240 off=2040 size=8
R3 max value is outside of the allowed memory range
processed 40 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 1
""": "invalid access to map value, value_size=240 off=2040 size=8",
    # libbpf poisons a relocation that failed, and says so in the log
    """0: <invalid CO-RE relocation>
failed to resolve CO-RE relocation <byte_off> [12] struct foo.bar (0:0 @ offset 0)
processed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
""": "failed to resolve CO-RE relocation <byte_off> [12] struct foo.bar (0:0 @ offset 0)",
    # nothing was gone through
    "arg#0 reference type('UNKNOWN ') size cannot be determined: -22\n"
    "Tracing programs must provide btf_id\n"
    "processed 0 insns (limit 1000000)\n": "Tracing programs must provide btf_id",
    # only noise
    "processed 3 insns (limit 1000000) max_states_per_insn 0\n": "",
}


@pytest.mark.parametrize(("log", "line"), LOGS.items(), ids=range(len(LOGS)))
def test_the_telling_line_is_found(log: str, line: str) -> None:
    assert telling_line(log) == line


def test_a_long_line_is_cut_to_160_characters() -> None:
    shortened = telling_line("0: (b7) r0 = 0\n" + "long " * 100)
    assert len(shortened) == 160
    assert shortened.endswith("…")
