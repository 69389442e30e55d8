"""The one line of a verifier's log that tells what is wrong. Pure text.

A log goes through the program instruction by instruction, with register states and source lines
between; what matters stands after the last of these (kernel/bpf/verifier.c).
"""

import re

_INSTRUCTION = re.compile(r"^\d+: (\([0-9a-f]{2}\)|R\d+|<invalid)|^from \d+ to \d+")
_NOISE = re.compile(
    r"^(processed \d+ insns|verification time|stack depth|max_states|insns processed"
    r"|(cur|old) state:|frame\d*: |R\d+(_\w+)?=| R\d+|; |func#\d+ @|Live regs before insn"
    r"|reg type unsupported for arg#|arg#\d+ reference type|Validating |The sequence of \d+ jumps"
    r"|mark_precise|last_idx|first_idx|parent |regs=|caller|propagating)"
)
_RELOCATION = re.compile(r"failed to resolve CO-RE relocation.*")
_MAX_LINE = 160


def telling_line(log: str) -> str:
    """Shortened to 160 characters; "" where the log says nothing."""
    relocation = _RELOCATION.search(log)
    if relocation:
        return _short(relocation.group())
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    after = 0
    for number, line in enumerate(lines):
        if _INSTRUCTION.match(line):
            after = number + 1
    for part in (lines[after:], lines[:after]):
        telling = [line for line in part if not _NOISE.match(line) and not _INSTRUCTION.match(line)]
        if telling:
            # The first after the last instruction names the cause, later ones what follows of it.
            return _short(telling[0] if part is not lines[:after] else telling[-1])
    return ""


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _MAX_LINE else line[: _MAX_LINE - 1] + "…"
