"""An agent in a terminal: what it serves over HTTP, drawn with rich (`kernmesh top`)."""
