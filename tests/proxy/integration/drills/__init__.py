"""Faults under load: what was sent is what was answered, plus failures that the fault explains."""
