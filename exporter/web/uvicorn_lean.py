"""uvicorn's httptools protocol without its command line.

`import uvicorn` also imports uvicorn.main: click, the reloader, multiprocessing. That is 1.6 MB
resident and 15 ms at start, for nothing here, so that one module is held off meanwhile.
"""

import sys
import types
from typing import Any


class _HeldOff(types.ModuleType):
    """Stands for uvicorn.main while uvicorn's __init__ takes `Server`, `main`, `run` from it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


def hold_off_command_line() -> None:
    """To be called before anything of uvicorn is imported; does nothing once something is.
    `uvicorn.run` is None then; `uvicorn.main` can still be imported by who needs it."""
    if "uvicorn" in sys.modules:
        return
    sys.modules["uvicorn.main"] = _HeldOff("uvicorn.main")
    try:
        import uvicorn  # noqa: F401
    finally:
        del sys.modules["uvicorn.main"]
