"""The agent's HTTP side: Starlette routes on uvicorn's httptools protocol, with own limits."""
