"""Label text that may read better later: the thing that it names was not found *yet*.

Whoever keeps decoded labels keeps plain `str` only, and asks again for these.
"""


class Provisional(str):
    """Equal to its text in every way; only the type tells."""

    __slots__ = ()
