"""Every smoothing method from dictionaries, one probability at a time: what the compiled estimates are held to."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from functools import cache

import numpy as np

from lmbench.models.ngram.discounts import FALLBACK, FALLBACK_ONE, estimate_discount, estimate_discounts, katz_discounts

Gram = tuple[int, ...]


class PlainSmoothing:
    """``text``: sentences of ids, 0 the boundary. ``base``: below the unigrams. ``weights``: l of Jelinek-Mercer."""

    def __init__(
        self, text: list[list[int]], order: int, name: str, form: str, base: list[float],
        *, k: float = 0.5, types: int = 0, cutoffs: list[int] | None = None, weights: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.order, self.name, self.form, self.base = order, name, form, base
        self.k, self.types, self.weights = k, types or len(base), weights
        rows = [(0, *words, 0) for words in text]
        self.raw: list[Counter[Gram]] = []
        for n in range(1, order + 1):
            self.raw.append(Counter(row[i - n + 1 : i + 1] for row in rows for i in range(max(1, n - 1), len(row))))
        before: dict[Gram, set[int]] = defaultdict(set)
        for row in rows:
            for n in range(1, order):
                for i in range(n, len(row)):
                    before[row[i - n + 1 : i + 1]].add(row[i - n])
        cutoffs = cutoffs or ([0, 0, 1] if name == "good-turing" else [0])
        self.after: list[dict[Gram, dict[int, int]]] = []
        self.taken: list[list[float]] = []
        self.stored: set[Gram] = set()
        for n, counts in enumerate(self.raw, 1):
            adjusted = {
                gram: len(before[gram]) if "kneser" in name and n < order and (n == 1 or gram[0] != 0) else count
                for gram, count in counts.items()
            }
            after: dict[Gram, dict[int, int]] = defaultdict(dict)
            for gram, count in adjusted.items():
                after[gram[:-1]][gram[-1]] = count
            self.after.append(after)
            self.taken.append(self.discounts(n, np.array([*adjusted.values(), 0], np.int64)))
            self.stored |= {gram for gram, count in counts.items() if count > cutoffs[min(n, len(cutoffs)) - 1]}
        self.probability = cache(self._probability)

    def discounts(self, n: int, counts: np.ndarray) -> list[float]:
        """What is taken from counts of 0, 1, ... and, last, of more."""
        if self.name == "modified-kneser-ney":
            found = estimate_discounts(counts)
            if found is None or (self.form == "backoff" and n > 1 and found[2] == 3):
                found = FALLBACK
            return [0, *found]
        if self.name in ("kneser-ney", "absolute"):
            return [0, estimate_discount(counts) or FALLBACK_ONE]
        if self.name == "good-turing" and n > 1:
            return katz_discounts(counts)[0].tolist()
        return [0]

    def kept(self, history: Gram) -> dict[int, float]:
        """For each stored word after a history, the probability that it has by itself."""
        after = self.after[len(history)].get(history, {})
        total = float(sum(after.values()))
        taken = self.taken[len(history)]
        if self.name == "witten-bell":
            total += len(after)
        if self.name == "add-k":
            total += self.k * self.types
        share = 1.0
        if self.name == "jelinek-mercer" and total:
            assert self.weights is not None
            share = float(self.weights[len(history), min(int(math.log2(total)), self.weights.shape[1] - 1)])
        words = {w: a for w, a in after.items() if (*history, w) in self.stored}
        kept = {w: share * (a - taken[min(a, len(taken) - 1)]) / total for w, a in words.items()}
        if self.name == "good-turing" and kept and abs(1 - sum(kept.values())) < 1e-12:
            rest = 1 - sum(self.below(w, history) for w in kept)
            if rest > 1e-9:
                kept = {w: a / (total + 1) for w, a in words.items()}
        return kept

    def below(self, word: int, history: Gram) -> float:
        return self.probability(word, history[1:]) if history else self.base[word]

    def _probability(self, word: int, history: Gram) -> float:
        """p(w | h), h cut to what the order allows."""
        history = history[max(0, len(history) - self.order + 1) :]
        if self.name == "add-k" and len(history) < self.order - 1 and history[:1] != (0,):
            return self.base[word]
        kept = self.kept(history)
        if not kept:
            return self.base[word] if self.name == "add-k" else self.below(word, history)
        if self.name == "stupid-backoff":
            return kept[word] if word in kept else 0.4 * self.below(word, history)
        left = 1 - sum(kept.values())
        if self.form == "interpolated" or not history:
            lower = self.base[word] if self.name == "add-k" else self.below(word, history)
            return kept.get(word, 0.0) + left * lower
        rest = 1 - sum(self.below(w, history) for w in kept)
        if rest <= 1e-9:
            return kept.get(word, 0.0) / sum(kept.values())
        return kept[word] if word in kept else left / rest * self.below(word, history)
