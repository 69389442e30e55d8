"""What one client may take of the server: numbers only, so that tests can make them small."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Seconds, bytes and counts; the defaults are a node agent's.

    A scraper keeps its connection between scrapes, so `idle_seconds` is longer than any usual
    scrape interval; idle connections are the first to go when `connections` are reached.
    """

    connections: int = 256
    """Open at once. One more, and the one that waits longest for its client is closed."""
    handshakes: int = 64
    """Of TLS, at once and among those connections; one more, and the oldest is closed."""
    handshake_seconds: float = 5.0
    """From a connection's start to the end of its TLS handshake."""
    shutdown_seconds: float = 5.0
    """For a client to say that it has heard of TLS's end."""
    request_seconds: float = 10.0
    """From the first byte of a request (on a new connection: from its start) to its last."""
    idle_seconds: float = 300.0
    """Between two requests of one connection."""
    write_seconds: float = 30.0
    """From the moment an answer is held up by its reader until it is taken whole."""
    stalled: int = 16
    """Held-up answers at once; one more, and the one held up longest is cut.
    Each may pin a rendered page, so this bounds memory: 16 × 6 MB at 100,000 series."""
    stall_grace_seconds: float = 1.0
    """How long an answer may be held up before it can be cut for that: a healthy reader of a
    large page is behind for milliseconds again and again."""
    head_bytes: int = 64 * 1024
    """Request line and header lines together: else 431."""
    body_bytes: int = 64 * 1024
    """Of a request: else 413. No route of the agent reads one."""
    pipelined: int = 8
    """Requests sent ahead on one connection before their answers."""
