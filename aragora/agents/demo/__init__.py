"""The offline demo: agents without a model, whose words are a function of what they are asked."""

from aragora.agents.demo.agent import MODEL, PIECES, STUMBLING, DemoAgent, delay

__all__ = ["MODEL", "PIECES", "STUMBLING", "DemoAgent", "delay"]
