"""The node agent: eBPF programs, host and usage collectors, one Prometheus endpoint."""

# Here and nowhere else: asking importlib.metadata for it costs 1.3 MB in every agent.
__version__ = "0.1.0"
