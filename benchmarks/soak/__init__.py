"""Everything on, under load, with faults, for as long as asked; what came of it as a table.

`python -m benchmarks.soak --minutes 30` (`make soak`) is it. Two agents have the same load: one
lives all the time, for what grows; one is killed again and again, for what is left behind.
"""
