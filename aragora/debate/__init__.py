"""How a debate goes: pure functions from its event log to the next steps. No clock, no I/O, no randomness."""
