"""The only part of kernmesh that writes cgroups: a small process that is asked over a socket.

It is started before anything listens on the network, is told its roots once, checks every request
again for itself, writes down what it is about to change, and puts all of it back when its socket
closes or it is told to end. It imports nothing of the agent but parsers of cgroup names.
"""
