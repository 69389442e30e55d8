"""The Kubernetes API, for the roles that ask it. A plain agent imports nothing of this."""
