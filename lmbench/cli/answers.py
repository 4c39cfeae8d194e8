"""Kept models + items of a file -> what each model says of each, group by group, and what it all comes to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lmbench.cli.kept import note
from lmbench.cli.layouts import LOG_PROB, Answer
from lmbench.cli.lines import Item
from lmbench.cli.tables import written
from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Line
from lmbench.errors import counted
from lmbench.models.base import LanguageModel
from lmbench.scoring.conditioning import Asked
from lmbench.scoring.inspection import gather, inspect
from lmbench.scoring.metrics import exp
from lmbench.scoring.sentences import SentenceScores, score_sentences

NAMED = 10
"""Unknown words that are named at the end, at most."""
Figures = dict[str, Any]


class _Parts(NamedTuple):
    """Tokens or words of a group: labels and figures, and where each text ends among them."""

    rows: list[tuple[str, Figures]]
    ends: list[int]


class Answers:
    """What ``models`` say of items, and the sums of it.

    ``part``: what rows are about: text, token or word. ``base``: of the logarithms. ``line``: what a line was to the
    models in training.
    """

    def __init__(self, models: Mapping[str, LanguageModel], part: str, base: str, line: Line) -> None:
        self.models, self.part, self.line = models, part, line
        self.log_prob, self.unit = LOG_PROB[base], {"e": 1.0, "2": math.log(2), "10": math.log(10)}[base]
        self.count = 0
        self.nats, self.events, self.crossing = (dict.fromkeys(models, 0.0), dict.fromkeys(models, 0), 0)
        self.unknown: dict[str, Counter[str]] = {name: Counter() for name in models}

    def lines(self, items: Sequence[Item], prefix: str | None) -> Iterator[Answer]:
        """The answers to ``items``, each after ``prefix`` or after its own."""
        texts = [item.text for item in items]
        before = [prefix or item.prefix or "" for item in items]
        found: dict[str, tuple[list[Figures], _Parts | None]] = {}
        for name, model in self.models.items():
            scores, parts = self._score(model, texts, before if any(before) else None)
            found[name] = self._figures(name, scores, texts), parts
        self.count += len(items)
        for number, item in enumerate(items):
            whole = {name: figures[number] for name, (figures, _) in found.items()}
            rows = {
                name: [(item.text, whole[name])]
                if parts is None
                else parts.rows[parts.ends[number - 1] if number else 0 : parts.ends[number]]
                for name, (_, parts) in found.items()
            }
            yield Answer(item.number, item.rest, rows, whole)

    def summarise(self, bad: int) -> None:
        """What it comes to, on standard error. ``bad``: lines that were left out."""
        if not self.count:
            note("No line could be scored." if bad else "There was no line to score.")
            return
        figures = "".join(
            f"; {'perplexity' if _has_perplexity(model) else 'pseudo-perplexity'} of {name}: "
            f"{written(exp(self.nats[name] / max(1, self.events[name])))}"
            for name, model in self.models.items()
        )
        note(f"{counted(self.count, 'line')} scored" + (f", {bad} left out" if bad else "") + figures)
        for words in {tuple(words.most_common()): words for words in self.unknown.values() if words}.values():
            names = ", ".join(name for name, others in self.unknown.items() if others == words)
            named = ", ".join(f"{word} ({times})" if times > 1 else word for word, times in words.most_common(NAMED))
            note(f"unknown to {names}: {named}" + (f", and {len(words) - NAMED} more" if len(words) > NAMED else ""))
        if self.crossing:
            note(
                f"In {counted(self.crossing, 'line')} one token reaches from the prefix into the text: it is scored "
                "as a whole."
            )

    def _score(
        self, model: LanguageModel, texts: list[str], before: list[str] | None
    ) -> tuple[SentenceScores, _Parts | None]:
        if self.part != "token":
            scores = score_sentences(model, texts, prefix=before, line=self.line)
            return scores, self._words(scores) if self.part == "word" else None
        found = inspect(model, texts, prefix=before, line=self.line)
        none = [None] * len(found.ids)
        orders = _orders(model, found.asked)
        columns = (
            (found.nats / self.unit).tolist(),
            none if found.rank is None else found.rank.tolist(),
            none if found.entropy_nats is None else (found.entropy_nats / self.unit).tolist(),
            none if orders is None else orders.tolist(),
        )
        rows = [
            dict(zip(("surprisal", "rank", "entropy", "order"), row, strict=True)) for row in zip(*columns, strict=True)
        ]
        parts = _Parts(list(zip(found.written, rows, strict=True)), found.ends.tolist())
        return SentenceScores(model.tokenizer, found.asked, found.nats), parts

    def _words(self, scores: SentenceScores) -> _Parts:
        words = gather(scores.tokenizer, scores.asked, scores.token_nats)
        sizes = np.diff(np.append(words.starts, len(scores.token_nats))).tolist()
        figures = zip((words.nats / self.unit).tolist(), sizes, strict=True)
        rows = [{"surprisal": surprisal, "tokens": size} for surprisal, size in figures]
        return _Parts(list(zip(words.written, rows, strict=True)), words.ends.tolist())

    def _figures(self, name: str, scores: SentenceScores, texts: list[str]) -> list[Figures]:
        """What the model says of each text as a whole; it is added to the sums."""
        nats, events, words = scores.nats, np.maximum(1, scores.events), scores.words
        self.nats[name] += float(nats.sum())
        self.events[name] += int(scores.events.sum())
        self.crossing += scores.asked.crossing
        log_probs = -nats / self.unit
        with np.errstate(over="ignore"):
            perplexity = np.exp(nats / events).tolist()
        columns = {
            self.log_prob: log_probs.tolist(),
            f"{self.log_prob}_per_token": (log_probs / events).tolist(),
            f"{self.log_prob}_per_word": (log_probs / (words + 1)).tolist(),
            "perplexity": perplexity if _has_perplexity(self.models[name]) else [None] * len(texts),
            "tokens": scores.events.tolist(),
            "words": words.tolist(),
            "unknowns": scores.unknowns.tolist(),
        }
        result = []
        for number, row in enumerate(zip(*columns.values(), strict=True)):
            figures = dict(zip(columns, row, strict=True))
            unknown = scores.unknown_words(number) if figures["unknowns"] else []
            self.unknown[name].update(unknown)
            result.append({**figures, "unknown_words": unknown, "text": texts[number]})
        return result


def _orders(model: LanguageModel, asked: Asked) -> np.ndarray | None:
    """int (N,): the length of the n-gram that each token was found in, 0 if unknown; None for other models."""
    if not hasattr(model, "orders"):
        return None
    batch = Batch.of(asked.tokens.rows())
    found = model.orders(batch)[batch.targets][asked.places]
    found[asked.ids == model.tokenizer.vocabulary.unknown] = 0
    return found


def _has_perplexity(model: LanguageModel) -> bool:
    """Whether its scores are probabilities of one token after the other."""
    return model.normalized and model.reads == "left"
