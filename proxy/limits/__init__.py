"""Limits that hold over all workers of the machine.

The master makes `Limits` before it forks: tables in anonymous shared memory and the lock that guards them. A worker
uses its own `WorkerLimits`. All tables are bounded: who comes when one is full takes the place of the oldest entry of
a few, found by a hash under a secret of this start, so that nobody can choose whose place he takes.
"""

from proxy.limits.shared import Limits, WorkerLimits

__all__ = ["Limits", "WorkerLimits"]
