"""What each shipped program counts under a load of its own: `python -m tests.programs` runs all of
them on this kernel and makes the tables of docs/programs.md; tests.qemu runs them on others.
"""
