"""uvicorn's httptools protocol without its command line; whoever needs uvicorn imports it here.

`import uvicorn` also imports uvicorn.main: click, the reloader, multiprocessing. That is 1.6 MB
resident and 15 ms at start, for nothing here, so that one module is held off meanwhile.
"""

import sys
import types
from typing import Any


class _HeldOff(types.ModuleType):
    """Stands for uvicorn.main while uvicorn's __init__ takes `Server`, `main`, `run` from it.
    They are None then; `uvicorn.main` itself can still be imported by who needs it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


if "uvicorn" not in sys.modules:
    sys.modules["uvicorn.main"] = _HeldOff("uvicorn.main")
    try:
        import uvicorn  # noqa: F401
    finally:
        del sys.modules["uvicorn.main"]

from uvicorn.config import Config  # noqa: E402
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol  # noqa: E402
from uvicorn.server import ServerState  # noqa: E402

__all__ = ["STATUS_LINE", "Config", "HttpToolsProtocol", "ServerState"]
