"""What the test API server can be told to do wrong, and to which requests."""

import threading
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["status", "cut", "half", "garbage", "endless", "redirect", "hold", "text"]


@dataclass
class Fault:
    """Requests whose verb is in `verbs` (any, if empty) and whose resource is `resource` (any, if
    "") meet it, `times` times (None: until it is taken out).

    status: that HTTP status with a Status object, Retry-After where `retry_after` is given;
    text: that status with `body` as plain text, as a proxy in between answers; cut: the connection
    is closed without an answer; half: in the middle of one; garbage: 200 with `body`; endless: 200
    with a body of 100 MB (watch: a line that never ends); redirect: to `location`; hold: the answer
    waits for `release`. `met` counts.
    """

    kind: Kind
    status: int = 500
    reason: str = ""
    retry_after: int | None = None
    verbs: frozenset[str] = frozenset()
    resource: str = ""
    times: int | None = None
    body: bytes = b"\x00garbage"
    location: str = "http://127.0.0.1:1/"
    release: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    met: int = 0

    def meets(self, verb: str, resource: str) -> bool:
        if self.verbs and verb not in self.verbs:
            return False
        if self.resource and self.resource != resource:
            return False
        return self.times is None or self.met < self.times
