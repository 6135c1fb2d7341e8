"""How alike several texts are: cosine similarity of their TF-IDF vectors.

Weights are (1 + ln tf) * (ln((1 + n) / (1 + df)) + 1), the smoothed form of Salton and Buckley, "Term-weighting
approaches in automatic text retrieval" (1988); the smoothing keeps words that all texts share, because agreement in
them is what is looked for. The similarity of a group is the mean over all pairs.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

METHOD = "tfidf-cosine"
CONVERGED = 0.85
REFINING = 0.6

# Scripts that are written without spaces are compared character by character.
_TERM = re.compile(r"[぀-ヿ㐀-鿿豈-﫿가-힯]|[^\W_]+")


def terms(text: str) -> list[str]:
    """The words of `text`, folded; a character each in Chinese, Japanese and Korean."""
    return _TERM.findall(text.casefold())


def similarity(texts: Sequence[str]) -> float:
    """From 0 (no word in common) to 1 (the same words); 1 for fewer than two texts."""
    if len(texts) < 2:
        return 1.0
    vectors = _vectors([Counter(terms(text)) for text in texts])
    pairs = [_cosine(one, other) for one, other in combinations(vectors, 2)]
    return round(min(1.0, math.fsum(pairs) / len(pairs)), 4)


def status(value: float) -> str:
    """`converged`, `refining` or `diverging`."""
    if value >= CONVERGED:
        return "converged"
    return "refining" if value >= REFINING else "diverging"


def _vectors(counts: Sequence[Counter[str]]) -> list[dict[str, float]]:
    """Each of length 1; a text without words has none of them."""
    documents = Counter(term for count in counts for term in count)
    total = len(counts)
    vectors = []
    for count in counts:
        weights = {
            term: (1 + math.log(number)) * (math.log((1 + total) / (1 + documents[term])) + 1)
            for term, number in count.items()
        }
        length = math.sqrt(math.fsum(weight * weight for weight in weights.values()))
        vectors.append({term: weight / length for term, weight in weights.items()})
    return vectors


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    if not one and not other:
        return 1.0
    shorter, longer = sorted((one, other), key=len)
    return math.fsum(weight * longer[term] for term, weight in shorter.items() if term in longer)
