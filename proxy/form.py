"""The form in which the gateway runs: its hot path as plain Python, or compiled from the same source."""


def form() -> str:
    """`pure` or `compiled`. All modules to compile are, this one too, or none."""
    return "pure" if __file__.endswith(".py") else "compiled"
