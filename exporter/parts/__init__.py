"""The agent's parts: each module puts one together and says how it is chosen, run and closed."""
