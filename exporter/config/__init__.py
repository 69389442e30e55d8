"""Configuration: guarded YAML reading, and the structs of agent.yaml.

The public names are here; pingmesh uses the loader, nothing else of it.
"""

from exporter.config.agent import AgentConfig, Ebpf, load_agent
from exporter.config.convert import Fault, doubles
from exporter.config.load import line_of, load_yaml
from exporter.config.scalars import Duration, GoDuration, HttpUrl, ListenAddress, Regexp
from exporter.config.schema import agent_schema, schema_of
from exporter.config.tree import Limits

__all__ = [
    "AgentConfig",
    "Duration",
    "Ebpf",
    "Fault",
    "GoDuration",
    "HttpUrl",
    "Limits",
    "ListenAddress",
    "Regexp",
    "agent_schema",
    "doubles",
    "line_of",
    "load_agent",
    "load_yaml",
    "schema_of",
]
