"""What doctor says of one subject: how it is, what was found, and the mend.

The rule: what cannot be known is "unknown", never "ok".
"""

from typing import Literal, NamedTuple

State = Literal["ok", "degraded", "missing", "unknown"]
"""ok: nothing to do. degraded: what the configuration wants works with less, or at a higher cost.
missing: it is not there. unknown: whoever asks is not told."""


class Line(NamedTuple):
    """`mend` is what to do, "" where nothing is to be done. `wanted_by` names the key of agent.yaml
    (and programs) that cannot be had without what is missing; "" where nothing asks for it."""

    subject: str
    state: State
    found: str
    mend: str = ""
    wanted_by: str = ""

    @property
    def failing(self) -> bool:
        """Whether the configuration wants what is not there."""
        return self.state == "missing" and bool(self.wanted_by)
