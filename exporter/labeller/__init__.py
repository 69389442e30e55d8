"""Central labelling: what `kernmesh labeller` consists of. Only that role imports any of it."""
