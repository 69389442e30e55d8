"""`kernmesh schema`: JSON Schemas of the files that users write or read."""

import argparse
import importlib
import json

SCHEMAS = {
    "agent": ("exporter.config", "AgentConfig"),
    "controller": ("pingmesh.controller_config", "ControllerConfig"),
    "interference": ("exporter.interference.answer", "InterferenceJson"),
    "inventory": ("pingmesh.inventory", "InventoryFile"),
    "labeller": ("exporter.labeller.config", "LabellerConfig"),
    "mesh": ("pingmesh.mesh_reading", "MeshJson"),
    "pinglist": ("pingmesh.pinglist", "Pinglist"),
    "web": ("exporter.config.web", "WebConfig"),
    "rules": ("exporter.interference.rules_file", "RulesFile"),
}
"""The struct that each file is read into, by module and name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", choices=tuple(SCHEMAS))


def run(arguments: argparse.Namespace) -> int:
    from exporter.config import schema_of

    module, struct = SCHEMAS[arguments.file]
    schema = schema_of(getattr(importlib.import_module(module), struct))
    print(json.dumps(schema, indent=2))
    return 0
