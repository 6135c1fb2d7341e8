"""Whether a debate is worth its price: the same questions to one model alone, to it many times, and to a debate."""

from aragora.evaluation.cases import Case, CasesError, load
from aragora.evaluation.comparison import Comparison, Evaluator, Method, Outcome
from aragora.evaluation.report import Report

__all__ = ["Case", "CasesError", "Comparison", "Evaluator", "Method", "Outcome", "Report", "load"]
