"""What must work on which kernel, and the exceptions, each with its reason."""

from collections.abc import Iterator, Mapping, Sequence

from tests.qemu.machine import Guest

ANY = "*"
EXCEPTIONS: Mapping[tuple[str, str], str] = {
    ("cpi", ANY): "an emulated CPU has no performance counters",
    ("llcstat", ANY): "an emulated CPU has no performance counters",
}
"""(program, kernel series) → why it need not count there. Everything else must."""


def excused(program: str, series: str) -> str | None:
    return EXCEPTIONS.get((program, series)) or EXCEPTIONS.get((program, ANY))


def failures(
    guests: Sequence[Guest], programs: Sequence[str], may_be_off: bool = False
) -> Iterator[str]:
    """One line for each program that must work on a kernel and does not, and for each guest in
    trouble. With `may_be_off` what is off for a reason is right, and only what runs must count."""
    for guest in guests:
        if guest.trouble:
            yield f"{guest.kernel.release}: {guest.trouble}"
        rows = {row.program: row for row in guest.rows if not row.forced}
        for program in programs:
            row = rows.get(program)
            if excused(program, guest.kernel.series) or (row and row.counts):
                continue
            if may_be_off and row and row.reason and not row.hooks:
                continue
            if row is None:
                why = "did not come to be tried"
            else:
                why = "; ".join(filter(None, (*row.missing, row.reason))) or "counted nothing"
            yield f"{program} on {guest.kernel.release}: {why}"
