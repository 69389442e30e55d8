"""static_map: text for text, from the program's own table.

What the table lacks is `unknown:<text>`, or left as it is with `allow_unknown`.
"""

from collections.abc import Mapping


class StaticMap:
    def __init__(self, table: Mapping[str, str], allow_unknown: bool) -> None:
        self._table = table
        self._prefix = "" if allow_unknown else "unknown:"

    def rewrite(self, text: str) -> str:
        found = self._table.get(text)
        return self._prefix + text if found is None else found
