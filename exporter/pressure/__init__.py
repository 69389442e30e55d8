"""Pressure: levels over time, what they put on a Node, and how that is written there.

Pure but for writer.py and own_node.py. Only roles that label import any of it.
"""
