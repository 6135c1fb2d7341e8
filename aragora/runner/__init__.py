"""Advances debates: claims a lease, asks the agents, stores what they say, until nothing is left to do.

    claim ──► history ──► plan ──► append its drafts ──► ask the agents, all at once ──► record, append each answer ─┐
                           ▲                                                                                        │
                           └────────────────────────────────────────────────────────────────────────────────────────┘

Nothing but the stored history decides the next step, so any process may continue any debate; what is lost with a
process are its unanswered questions, and they are asked again. Each round of this loop begins with a fenced append or
a look at the lease: a debate that was cancelled, deleted or taken over calls no agent any more, and an answer that
streams in is broken off as soon as the news arrives.

One thread per debate and one per question: greenlets under gunicorn's gevent worker, where a thousand debates cost a
few kilobytes each; under uvicorn or the development server real threads, where a smaller ARAGORA_MAX_DEBATES is wise.
"""

from aragora.runner.run import Observer
from aragora.runner.runner import Runner, RunnerStatus

__all__ = ["Observer", "Runner", "RunnerStatus"]
