"""What was seen last, in a file, for a controller that starts while the API is away.

The rule: only what was asked of the same cluster in the same way counts, and a file that cannot be
read is as none. It is replaced as a whole.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from msgspec import json

from exporter.wholefile import replace_whole
from pingmesh.kubernetes_objects import NodeSeen, PodSeen

MAX_BYTES = 64 << 20

log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """`asked` names cluster and selectors; `at` is on the wall clock. None: not asked for."""

    asked: str
    at: float
    nodes: tuple[NodeSeen, ...]
    probers: tuple[PodSeen, ...] | None
    opted_in: tuple[PodSeen, ...] | None


def load_kept(path: Path, asked: str) -> Kept | None:
    """None where there is nothing to go by, which is logged unless there is just no file."""
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        kept = json.decode(body, type=Kept)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s: kept members are not used: %s", path, error)
        return None
    if kept.asked != asked:
        log.info("%s: kept members are of another cluster or selection and not used", path)
        return None
    return kept


def save_kept(path: Path, kept: Kept) -> None:
    """Raises OSError."""
    replace_whole(path, json.encode(kept))
