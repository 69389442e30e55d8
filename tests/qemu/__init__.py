"""The shipped programs on older and newer kernels than this machine's, in virtual machines.

`python -m tests.qemu` (make test-qemu) runs it; guest.py runs inside.
"""
