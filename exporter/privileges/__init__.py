"""What a role lets go of once it has begun: capabilities, new privileges, system calls, files.

The rule: a mechanism that is missing is said and never keeps a role from running, and what is told
to be in force is what the kernel says of every thread, not what was asked for. Knows no role.
"""
