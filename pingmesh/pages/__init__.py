"""What pingmesh shows: the mesh and its pairs, a probe, and what the agent's page says of it."""
