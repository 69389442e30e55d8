"""Values from Prometheus: an instant query per rule, whose series are joined with nodes.

The rule: what cannot be asked, answered or read is unknown, never calm; and answers are bounded.
The rule file is read again when it changes, and one that is bad changes nothing.
https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from exporter.errors import ConfigError, KernmeshError
from exporter.filestamp import stamp
from exporter.httpclient import HttpClient, Opened, fetch
from exporter.identity import BadFile, Identity
from exporter.labeller.config import PromRules
from exporter.labeller.nodes import host_of
from exporter.labeller.rule_file import Rule, RuleFile, read_rules

MAX_BYTES = 64 << 20
"""Of one query's answer: a quarter of a million series."""
_QUOTED = 200
"""Bytes of a refusal that a message has: Prometheus says there what is wrong with a query."""

log = logging.getLogger(__name__)

Values = dict[str, dict[str, float | None]]
"""By node and resource."""


class _Series(TypedDict):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(TypedDict):
    resultType: str
    result: list[_Series]


class _Answer(TypedDict):
    data: _Data


class PromSource:
    """`problems` are why something is unknown, by rule ("" the file); `unmatched` how many series
    named no node in the last round."""

    def __init__(self, config: PromRules) -> None:
        """Raises ConfigError where there is no rule to begin with."""
        self._config = config
        self._path = Path(config.rules)
        self._stamp = stamp(self._path)
        self.file: RuleFile = read_rules(self._path)
        if not self.file.rules:
            raise ConfigError(self.file.problems)
        self._file_problem = ""
        self._failed: dict[str, str] = {}
        self.unmatched = 0
        self._client = HttpClient(
            Identity("prometheus", config.tls, config.bearer_token_file, config.basic_auth),
            config.url.startswith("https:"),
            lambda: {
                "timeout": config.timeout,
                "headers": {"accept": "application/json", "accept-encoding": "gzip"},
            },
        )

    @property
    def problems(self) -> Sequence[str]:
        lines = [self._file_problem] if self._file_problem else []
        lines += [str(each) for each in self.file.problems]
        return [*lines, *(f"rule {name}: {why}" for name, why in self._failed.items())]

    def look(self) -> bool:
        """Whether the rules are others now. Blocks."""
        now = stamp(self._path)
        if now == self._stamp:
            return False
        try:
            found = read_rules(self._path)
            if not found.rules:
                raise ConfigError(found.problems)
        except ConfigError as error:
            text = f"{error.problems[0]}; the rules stay as they were"
            if text != self._file_problem:
                log.warning(text)
            self._file_problem = text
            return False  # and it is looked at again, since it may be being written
        self._stamp, self._file_problem = now, ""
        changed, self.file = found != self.file, found
        return changed

    async def read(self, names: Mapping[str, str]) -> Values:
        """`names` are nodes by all that an `instance` may call them."""
        values: Values = {}
        self.unmatched = 0
        try:
            opened = await self._client.open()
        except BadFile as error:
            for rule in self.file.rules:
                self._say(rule.name, str(error))
            return values
        answers = await asyncio.gather(*(self._ask(opened, rule) for rule in self.file.rules))
        for rule, answer in zip(self.file.rules, answers, strict=True):
            for instance, value in answer:
                node = names.get(instance) or names.get(host_of(instance))
                if node is None:
                    self.unmatched += 1
                elif not math.isnan(value):
                    of_node = values.setdefault(node, {})
                    before = of_node.get(rule.resource)
                    # One of several series over it is enough.
                    of_node[rule.resource] = value if before is None else max(before, value)
        return values

    async def close(self) -> None:
        await self._client.close()

    async def _ask(self, opened: Opened, rule: Rule) -> list[tuple[str, float]]:
        try:
            found = await self._query(opened, rule.query)
            if not found:
                raise KernmeshError("the answer is empty")
            rows = [(each["metric"].get("instance", ""), float(each["value"][1])) for each in found]
            if not any(instance for instance, _ in rows):
                raise KernmeshError("no series has a label instance, which names the node")
            if all(math.isnan(value) for _, value in rows):
                raise KernmeshError("all values are NaN")
        except (KernmeshError, ValueError) as error:
            self._say(rule.name, str(error))
            return []
        self._say(rule.name, "")
        return rows

    async def _query(self, opened: Opened, query: str) -> list[_Series]:
        import msgspec

        url = f"{self._config.url.rstrip('/')}/api/v1/query"
        form = {"query": query}
        try:
            body = await fetch(opened, url, self._config.timeout, MAX_BYTES, form, _QUOTED)
            data = msgspec.json.decode(body, type=_Answer)["data"]
        except KernmeshError as error:
            raise KernmeshError(f"{url}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise KernmeshError(f"{url}: no instant vector of Prometheus: {error}") from error
        if data["resultType"] != "vector":
            raise KernmeshError(f"the answer is a {data['resultType']}, want an instant vector")
        return data["result"]

    def _say(self, rule: str, why: str) -> None:
        before = self._failed.get(rule, "")
        # Replaced, not changed: a scrape may be reading it.
        others = {name: text for name, text in self._failed.items() if name != rule}
        self._failed = others | ({rule: why} if why else {})
        if why:
            if why != before:
                log.warning("rule %s: %s; what was known holds", rule, why)
        elif before:
            log.info("rule %s: is answered again", rule)
