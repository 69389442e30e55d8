"""A role's web configuration file and all that it names, as they are now: read at the start, and
again whenever one of them changes.

The rule: what is bad changes nothing, and is said. TLS or credentials that are there stay there
until a restart: a file cut short must not open what was closed.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.config.load import line_of
from exporter.config.web import WebConfig, load_web
from exporter.errors import ConfigError, KernmeshError, Problem
from exporter.filestamp import stamp
from exporter.metrics.table import FastFamily, Shape
from exporter.secretfile import read_secret
from exporter.threads import in_thread
from exporter.web.credentials import Known
from exporter.web.guard import Rules
from exporter.web.tls import BadMaterial, Secure, files, make_secure

LOOK_SECONDS = 2.0
SHORTEST_TOKEN = 16

_SUCCESSFUL = Shape(
    "gauge",
    "kernmesh_web_config_last_reload_successful",
    "Whether the web configuration, certificates and tokens could be read; if not, those before "
    "hold.",
)
_SUCCESS_TIME = Shape(
    "gauge",
    "kernmesh_web_config_last_reload_success_timestamp_seconds",
    "When the web configuration that holds was read.",
)
_NOT_AFTER = Shape(
    "gauge",
    "kernmesh_web_certificate_not_after_timestamp_seconds",
    "When the certificate that is served ends.",
)

_DENIED = Shape(
    "counter",
    "kernmesh_http_denied_total",
    "Requests turned away: for their credentials, after too many guesses, by rate_limit.",
    ["reason"],
)

Stamps = tuple[tuple[int, int, int] | None, ...]
log = logging.getLogger(__name__)


class Read(NamedTuple):
    """What the files say, read together. `secure` None: no TLS."""

    config: WebConfig
    secure: Secure | None
    rules: Rules
    stamps: Stamps


class Protection:
    def __init__(self, path: Path, clock: Clock) -> None:
        """Raises KernmeshError."""
        self._path, self._clock = path, clock
        self._now = read(path)
        self._read_at = clock.wall()
        self.problem: str | None = None
        """Why what is in the files now is not what holds; None where it is."""
        self.renew: Callable[[], None] = lambda: None
        """Called when TLS has changed, for connections that began before."""
        self.denied: Mapping[str, int] = Counter()
        """Requests that were turned away, by reason."""
        for note in self._now.config.notes():
            log.warning("%s: %s", path, note)

    @property
    def secure(self) -> Secure | None:
        return self._now.secure

    @property
    def rules(self) -> Rules:
        return self._now.rules

    def read(self) -> Read:
        """As the files are. Blocks; raises KernmeshError, and nothing is taken then."""
        found = read(self._path)
        for key, before, now in (
            ("tls_server_config", self._now.config.secure, found.config.secure),
            ("credentials", self._now.config.closed, found.config.closed),
        ):
            if before and not now:
                text = "taken out, which takes effect when kernmesh is restarted"
                raise ConfigError([Problem(str(self._path), 0, key, text)])
            if now and not before and key == "tls_server_config":
                text = "put in, which takes effect when kernmesh is restarted"
                raise ConfigError([Problem(str(self._path), 0, key, text)])
        return found

    def take(self, found: Read) -> None:
        """Goes on by this; in the loop."""
        before, self._now = self._now, found
        self._read_at, self.problem = self._clock.wall(), None
        if before.stamps == found.stamps:
            return
        for note in found.config.notes():
            log.warning("%s: %s", self._path, note)
        if found.secure is not None:
            self.renew()

    async def look(self) -> None:
        """Reads anew where a file has changed, and each time while what is there is bad: another
        file than those that are served may be what is missing."""
        if self.problem is None:
            stamps = await in_thread(self._stamps, "web files")
            if stamps == self._now.stamps:
                return
        try:
            found = await in_thread(self.read, "web files")
        except KernmeshError as error:
            self.failed(error)
            return
        self.take(found)
        log.info("web configuration reloaded", extra={"file": str(self._path)})

    def failed(self, error: KernmeshError) -> None:
        if error.lines[0] != self.problem:
            for line in error.lines:
                log.error("web configuration stays as it was: %s", line)
        self.problem = error.lines[0]

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    def collect(self) -> Iterable[Metric]:
        yield FastFamily.of(_SUCCESSFUL, {(): float(self.problem is None)})
        yield FastFamily.of(_SUCCESS_TIME, {(): self._read_at})
        secure = self._now.secure
        if secure is not None and secure.not_after is not None:
            yield FastFamily.of(_NOT_AFTER, {(): secure.not_after})
        denied = {(each,): float(self.denied[each]) for each in ("credentials", "guesses", "rate")}
        yield FastFamily.of(_DENIED, denied)

    def files(self) -> tuple[Path, ...]:
        """All that are read."""
        return tuple(_all_files(self._path, self._now.config))

    def _stamps(self) -> Stamps:
        return _stamps(self._path, self._now.config)


def read(path: Path) -> Read:
    """The file, and all that it names. Raises ConfigError with everything that is wrong."""
    config = load_web(path)
    stamps = _stamps(path, config)  # before they are read: what changes meanwhile is seen next
    problems: list[Problem] = []

    def bad(key: str, text: str) -> None:
        problems.append(Problem(str(path), line_of(path, key), key, text))

    secure = None
    if config.secure:
        try:
            secure = make_secure(config.tls_server_config, path.parent)
        except BadMaterial as error:
            bad(f"tls_server_config.{error.key}", str(error))
    tokens = []
    for name, file in config.bearer_token_files.items():
        try:
            tokens.append(sha256(_token(path.parent / file)).digest())
        except ValueError as error:
            bad(f"bearer_token_files.{name}", f"{path.parent / file}: {error}")
    if problems:
        raise ConfigError(problems)
    users = {user: hashed.encode() for user, hashed in config.basic_auth_users.items()}
    rate = config.rate_limit
    return Read(
        config,
        secure,
        Rules(
            Known(users, tokens) if config.closed else None,
            frozenset(config.open_paths),
            tuple(
                (name.lower().encode(), value.encode())
                for name, value in config.http_server_config.headers.named()
            ),
            (float(rate.interval), rate.burst) if rate.interval > 0 else None,
        ),
        stamps,
    )


def check(flag: Path | None, key: str | None) -> list[Problem]:
    """What would keep a role from starting with the file that --web.config.file, else its
    server.web_config names."""
    path = flag or key
    try:
        if path is not None:
            read(Path(path))
    except ConfigError as error:
        return list(error.problems)
    return []


def _token(path: Path) -> bytes:
    """Raises ValueError."""
    token = read_secret(path)
    if len(token) < SHORTEST_TOKEN:
        raise ValueError(f"is too easy to guess, want {SHORTEST_TOKEN} characters or more")
    return token.encode()


def _stamps(path: Path, config: WebConfig) -> Stamps:
    return tuple(stamp(each) for each in _all_files(path, config))


def _all_files(path: Path, config: WebConfig) -> Iterator[Path]:
    yield path
    yield from files(config.tls_server_config, path.parent)
    yield from (path.parent / file for file in config.bearer_token_files.values())
