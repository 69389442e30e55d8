"""Sources of series that only detection asks for; rows for the table of usage's sources."""
