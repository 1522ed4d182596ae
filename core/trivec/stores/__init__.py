"""Collections: what users call, what connectors write, and the stores of this package."""
