"""The form in which the gateway runs: its hot path as plain Python, or compiled from the same source."""


def form() -> str:
    """`pure` or `compiled`. This module is compiled together with the others, in one library: all of them or none."""
    return "pure" if __file__.endswith(".py") else "compiled"
