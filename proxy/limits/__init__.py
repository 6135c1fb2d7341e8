"""Limits that apply across all workers of the machine.

The master makes `Limits` before it forks: tables in anonymous shared memory and the lock that guards them. A worker
uses its own `WorkerLimits`. Tables are set-associative and bounded: a new key evicts the oldest entry of its set. Sets
are chosen by a keyed hash whose secret is new at each start, so clients cannot target a victim.
"""

from proxy.limits.shared import Limits, WorkerLimits

__all__ = ["Limits", "WorkerLimits"]
