"""`kernmesh new-program NAME`: a working pair of files to start from, and what to type next.

It counts processes that were made, by the name of the one that made them: the smallest thing that
has a hook with a fallback, a key of two parts, a label with a decoder, and a counter.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from exporter.ebpf.objectfile import CHECKOUT, shipped_folder
from exporter.errors import KernmeshError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

SOURCE = """\
// SPDX-License-Identifier: GPL-2.0
// What this program counts, in a sentence. As it stands: processes and threads that were made, by
// the name of the process that made them.
#include "maps.bpf.h"

struct @id@_key {
	char comm[16]; // TASK_COMM_LEN
};

// The map is the metric: same name, the key's parts are the labels, the value is the count.
COUNTER_MAP(@id@_total, struct @id@_key, 4096);

static __always_inline int count_one(void)
{
	struct @id@_key key = {};

	bpf_get_current_comm(key.comm, sizeof(key.comm));
	count(@id@_total, &key, 1);
	return 0;
}

// Two ways to see the same event; @name@.yaml says which is tried first.
TP_BTF(on_event_btf, sched_process_fork)
{
	return count_one();
}

RAW_TP(on_event_raw, sched_process_fork)
{
	return count_one();
}

char LICENSE[] SEC("license") = "GPL";
"""

DESCRIPTION = """\
metrics:
  counters:
    - name: @id@_total # the map's name; on /metrics it begins with ebpf_exporter_
      help: Processes and threads that were made, by the name of the process that made them
      labels:
        - name: command
          size: 16 # bytes of the key, in the key's order
          decoders:
            - name: string
hooks: # the first way that the kernel takes is used
  - name: processes made
    any_of:
      - [on_event_btf]
      - [on_event_raw]
"""


def place(here: Path) -> Path:
    """Where it goes if nobody says: in kernmesh's own checkout among the others, else here; never
    into an installed package."""
    return CHECKOUT if CHECKOUT.is_dir() and here.is_relative_to(CHECKOUT.parent) else here


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """Writes <folder>/<name>.bpf.c and <name>.yaml, both or neither; gives their paths.

    Raises KernmeshError where the name is no good or a file is there already."""
    if not _NAME.fullmatch(name):
        raise KernmeshError(
            f"new-program: {name}: is no name for a program, want lower-case letters, digits and "
            "single hyphens, such as tcp-resets"
        )
    texts = {
        folder / f"{name}.bpf.c": SOURCE,
        folder / f"{name}.yaml": DESCRIPTION,
    }
    for path in texts:
        if path.exists():
            raise KernmeshError(f"new-program: {path}: is there already; choose another name")
    words = {"@id@": name.replace("-", "_"), "@name@": name}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(_filled(text, words))
    except OSError as error:
        raise KernmeshError(f"new-program: {folder}: cannot be written: {error.strerror}") from None
    source, description = texts
    return source, description


def next_steps(name: str, folder: Path) -> str:
    """What to type to compile, check and run it, as a shell takes it."""
    bpf = shipped_folder()
    target = folder / f"{name}.bpf.o"
    lines = [f"compile:  make -C {bpf} object FROM={folder / name}.bpf.c TO={target}"]
    config = f"ebpf: {{programs: [{name}], dirs: [{folder}]}}"
    if folder == bpf:
        lines = ["compile:  make setup"]
        config = f"ebpf: {{programs: [{name}]}}"
    lines += [
        f"configure, in agent.yaml:  {config}",
        "check:    kernmesh check --config agent.yaml",
        "run:      kernmesh agent --config agent.yaml   (as root)",
    ]
    return "\n".join(lines)


def _filled(text: str, words: Mapping[str, str]) -> str:
    for mark, word in words.items():
        text = text.replace(mark, word)
    return text
