"""The commands of `kernmesh`, one module each: `add_arguments(parser)` and `run(arguments) -> int`.

The table of them is in exporter/cli.py, which imports a module when its command is called. What a
command does is imported when it runs, so that its --help is fast too.
"""
