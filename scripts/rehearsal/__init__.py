"""Everything at once: what an operator does to a gateway, and what befalls it, under load."""
