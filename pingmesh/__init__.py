"""Pingmesh: probes between nodes, read from a pinglist, on the agent's own registry."""
