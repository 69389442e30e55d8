"""The node agent: eBPF programs, host and usage collectors, one Prometheus endpoint."""
