"""Learning tasks one after the other: how networks are trained, and what they forget."""
