"""HTML pages of the agent: a template and the plain values that it shows."""
