"""What each detector is made of, as values: one NamedTuple per detector, and the table to make it.

A rules file is read, checked and put into words without a detector in sight; `make` is the last
step. Seconds, ratios and names as the detectors take them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from exporter.interference.expression import Tree
from exporter.interference.model import Detector

LONGEST_SECONDS = 840.0
"""How far back a detector may be told to look: signals are kept for 15 minutes."""
LONGEST_WANTED = "14m or less"
LONGEST_WHY = "signals are kept for 15m"


class ExpressionSpec(NamedTuple):
    """Fires after so many samples in a row, or after so many seconds; both None: at the first."""

    tree: Tree
    warning_count: int | None = None
    warning_duration: float | None = None


class EwmaSpec(NamedTuple):
    metric: str
    nr: int


class PsiSpec(NamedTuple):
    resource: Literal["cpu", "memory", "io"]
    kind: Literal["some", "full"]
    threshold: float
    window: float


class RunqSpec(NamedTuple):
    quantile: float
    threshold_seconds: float
    window: float
    held_by: Literal["anyone", "offline"] = "anyone"


class CpiSpec(NamedTuple):
    sigmas: float
    outliers: int
    window: float


class SloSpec(NamedTuple):
    """`job` None: the worst of all; `metric` None: the worst of the job's."""

    job: str | None
    metric: str | None
    threshold: float


DetectorSpec: TypeAlias = ExpressionSpec | EwmaSpec | PsiSpec | RunqSpec | CpiSpec | SloSpec
Maker: TypeAlias = Callable[[DetectorSpec], Detector]


def make(spec: DetectorSpec) -> Detector:
    """The detector, from the table of them."""
    from exporter.interference.detectors import cpi, ewma, expression, psi, runq, slo

    table: Mapping[type, Callable[..., Any]] = {
        ExpressionSpec: expression.Expression,
        EwmaSpec: ewma.Ewma,
        PsiSpec: psi.Psi,
        RunqSpec: runq.Runq,
        CpiSpec: cpi.Cpi,
        SloSpec: slo.Slo,
    }
    detector: Detector = table[type(spec)](**spec._asdict())
    return detector
