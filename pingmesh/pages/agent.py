"""What the agent's page says of its probes: the last rounds, the worst pairs, the lossy racks.

Bounded: a mesh of 10,000 nodes shows no more than one of ten. Takes a Board, knows no lanes.
"""

from collections.abc import Iterable, Mapping
from heapq import nsmallest

from exporter.clock import Clock
from exporter.pages.section import UNKNOWN, Cell, Row, Section, share
from pingmesh.metrics import Board

MOST_PAIRS = 10
MOST_RACKS = 5


def sections(board: Board, clock: Clock, probing: bool, targets: int) -> Iterable[Section]:
    """Nothing where there is no list and never was. `targets` are those of the list in use."""
    results = board.results()
    if not (results or probing or targets):
        return
    state = "" if probing else "Nothing is probed. "
    yield Section(
        "pingmesh",
        "Pingmesh",
        ("Lane", "Answered", "Lost", "Not sent", "Last round"),
        tuple(_lane(board, clock, lane, found) for lane, found in sorted(results.items())),
        empty="The first round is under way." if probing else "No round yet.",
        note=f"{state}{targets} targets in the list.",
    )
    if results:
        yield Section(
            "pairs",
            "Worst pairs of the last round",
            ("Target", "Of", "Result"),
            _pairs(board),
            empty="Every target answered in time.",
        )
    lossy = board.lossy()
    if lossy:
        worst = nsmallest(MOST_RACKS, lossy, key=lambda key: (-lossy[key], key))
        yield Section(
            "lossy",
            "Lost in the last ten minutes, by rack",
            ("Rack", "Probe", "Lost"),
            tuple((_place(*key[3:]), key[0], Cell(share(lossy[key]), "off")) for key in worst),
        )


def _lane(board: Board, clock: Clock, lane: str, found: Mapping[str, int]) -> Row:
    facts = board.last_round(lane)
    age = UNKNOWN if facts is None else f"{max(clock.wall() - facts.ended, 0):.0f} s ago"
    lost, skipped = found["lost"], found["skipped"]
    return (
        lane,
        str(found["ok"]),
        Cell(str(lost), "off" if lost else ""),
        Cell(str(skipped), "off" if skipped else ""),
        age,
    )


def _pairs(board: Board) -> tuple[Row, ...]:
    """Those that failed, then the slowest."""
    failing, slow = board.failing(), board.slow()
    rows: list[Row] = [
        (target, tor, Cell(f"lost: {reason}", "off"))
        for (target, tor), reason in nsmallest(MOST_PAIRS, failing.items())
    ]
    rest = MOST_PAIRS - len(rows)
    slowest = nsmallest(rest, slow.items(), key=lambda each: (-each[1], each[0]))
    rows += [(target, tor, f"{ms:.2f} ms") for (target, tor), ms in slowest]
    more = len(failing) + len(slow) - len(rows)
    if more > 0:
        rows.append((f"and {more} more", "", Cell("see pingmesh_fail on /metrics", "soft")))
    return tuple(rows)


def _place(zone: str, rack: str) -> str:
    return "/".join(part for part in (zone, rack) if part) or "(no rack)"
