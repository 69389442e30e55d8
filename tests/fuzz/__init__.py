"""Every parser of outside input, given what nobody meant to give it.

The rule: one table of targets (`targets/`) serves two engines: hypothesis for seconds of `make
test` (test_targets.py), atheris for minutes of `make fuzz` (`python -m tests.fuzz`). It lies with
the tests and not with the benchmarks because what it says is right or wrong, not fast or slow.
"""
