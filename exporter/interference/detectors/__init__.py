"""What a rule can ask: each detector a pure module of its own, in the table that rules read."""
