// SPDX-License-Identifier: GPL-2.0
// bpf/cpi.bpf.c with the CPU's clock for its cycles, and the task's for its instructions:
// PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK and PERF_COUNT_SW_TASK_CLOCK, in nanoseconds.
#define CYCLES "type=1,config=0"
#define INSTRUCTIONS "type=1,config=1"
#include "../../../bpf/cpi.bpf.c"
