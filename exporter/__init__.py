"""The node agent: eBPF programs, host and usage collectors, one Prometheus endpoint."""

BASE = "0.1.0"
"""The release that is being worked on; hatch_build.py reads it."""

# From a file: asking importlib.metadata for it costs 1.3 MB in every agent.
try:
    from exporter._version import __revision__, __version__
except ImportError:  # a source tree that was neither built nor installed
    __version__, __revision__ = BASE, ""

__all__ = ["BASE", "__revision__", "__version__"]
