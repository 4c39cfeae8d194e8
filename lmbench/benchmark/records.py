"""A model of a run -> what the report shows of it beside its numbers: sentences, samples, the nats of each token.

All of it is made after the model was scored, outside what is measured, and at a bounded cost: once the time is up,
sentences are shown without ranks and alternatives, and samples stay shorter. What goes wrong here is told in the log
and never costs the model its numbers; ``--resume`` makes what is missing from the models that were kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from operator import itemgetter
from typing import Any

import numpy as np

from lmbench.benchmark.evidence import Heldout
from lmbench.benchmark.heldout import CHARACTERS, LIMIT, hold_out
from lmbench.benchmark.journal import Journal
from lmbench.benchmark.plan import Plan
from lmbench.benchmark.results import Result, RunFolder
from lmbench.corpus.text import Line
from lmbench.corpus.tokenizers import Tokenizer
from lmbench.corpus.words import word_starts, word_types, written_words
from lmbench.errors import ModelError, ResultsError
from lmbench.models import registry
from lmbench.models.base import LanguageModel
from lmbench.scoring.conditioning import ask
from lmbench.scoring.inspection import inspect
from lmbench.scoring.scorer import checked_nats, score
from lmbench.tasks.diversity import diversity
from lmbench.tasks.generation import generate
from lmbench.training.distributed import processes

SENTENCES, TOKENS = 40, 3000
"""Sentences or passages in the reader, and their tokens in all, at most."""
SHORTEST, LONGEST = 4, 300
"""Tokens of a sentence that is taken: a shorter one tells little, a longer one fills the page."""
ALTERNATIVES = 5
SAMPLES = 5
FIGURES = ("nats", "rank", "entropy", "top")
"""What is told of each token, in a list, or None."""
SECONDS = 3.0
"""For the sentences of one model, and again for its samples: what is begun later is left out."""


def read_aloud(
    model: LanguageModel, texts: Sequence[str], line: Line = "sentence", seconds: float = SECONDS
) -> list[dict[str, Any]]:
    """What ``model`` says of each of ``texts``, read on its own: an entry of ``reader.json`` for each, with its tokens.

    ``line``: what a line was in training. After ``seconds`` the rest has surprisals only. A model that reads both sides
    has nothing else anyway.
    """
    entries: list[dict[str, Any]] = []
    began, size = time.perf_counter(), 1
    while len(entries) < len(texts):
        spent, rest = time.perf_counter() - began, texts[len(entries) :]
        if entries and spent * (1 + size / len(entries)) > seconds:  # the next would take too long
            return entries + _surprisals(model, rest, line)
        entries += _inspected(model, rest[:size], line)
        size *= 2
    return entries


def _inspected(model: LanguageModel, texts: Sequence[str], line: Line) -> list[dict[str, Any]]:
    seen = inspect(model, texts, alternatives=ALTERNATIVES, line=line)
    written, types = seen.written, model.tokenizer.tokens
    top = None
    if seen.alternatives is not None and model.normalized:
        chances = np.exp(-seen.alternatives.nats)
        top = [
            [[token, _short(chance)] for token, chance in zip(types(ids), row, strict=True)]
            for ids, row in zip(seen.alternatives.ids, chances.tolist(), strict=True)
        ]
    columns = {"tokens": written, "nats": seen.nats, "rank": seen.rank, "entropy": seen.entropy_nats, "top": top}
    entries = [{name: _part(values, part) for name, values in columns.items()} for part in seen.parts()]
    rows = [seen.ids[part] for part in seen.parts()]
    return _gathered(model.tokenizer, seen.asked.texts, rows, entries)


def _surprisals(model: LanguageModel, texts: Sequence[str], line: Line) -> list[dict[str, Any]]:
    """Entries without what takes the distribution before each token."""
    asked = ask(model.tokenizer, texts, line=line)
    nats = checked_nats(model, asked.tokens, "sentence")
    parts = [slice(*ends) for ends in zip(asked.starts.tolist(), asked.ends.tolist(), strict=True)]
    rows = [asked.tokens.ids[1:][part] for part in parts]
    entries: list[dict[str, Any]] = [
        {"tokens": model.tokenizer.tokens(row), "nats": _part(nats, part), "rank": None, "entropy": None, "top": None}
        for row, part in zip(rows, parts, strict=True)
    ]
    return _gathered(model.tokenizer, asked.texts, rows, entries)


def _gathered(
    tokenizer: Tokenizer, texts: Sequence[str], rows: Sequence[np.ndarray], entries: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The ``entries`` with the words of which their tokens, int (N,) in each of ``rows``, are pieces: how they are
    written, and the first token of each. As they are where each token is a word."""
    types = word_types(tokenizer)
    for text, ids, entry in zip(texts, rows, entries, strict=True):
        if not types.opens.all():
            ends = np.array([len(ids)])
            starts = word_starts(ids, ends, types)
            entry["words"], entry["starts"] = written_words(tokenizer, [text], ids, ends, starts), starts.tolist()
    return entries


def _part(values: Any, part: slice) -> list[Any] | None:
    """A part of a column as JSON values, numbers in a few digits; None stays None."""
    if values is None:
        return None
    return [_short(value) for value in values[part].tolist()] if isinstance(values, np.ndarray) else values[part]


def _short(value: float) -> float:
    """``value`` in five significant digits."""
    return float(f"{value:.5g}")


def write_samples(model: LanguageModel, longest: int, seed: int, seconds: float = SECONDS) -> dict[str, Any] | None:
    """Some texts that ``model`` writes, an entry of ``samples.json``; None for one that reads both sides.

    At most ``longest`` tokens each; drawn anew at twice the length, with the same beginning, while that takes no more
    than ``seconds`` in all likelihood.
    """
    if model.reads != "left":
        return None
    length, texts = max(1, longest // 8), [""]
    while True:
        before, began = texts, time.perf_counter()
        texts = generate(model, n=SAMPLES, temperature=1.0, max_tokens=length, seed=seed)
        if texts == before:  # all have ended
            length = longest
        if length == longest or 4 * (time.perf_counter() - began) > seconds:
            break
        length = min(2 * length, longest)
    settings = {"temperature": 1.0, "seed": seed, "max_tokens": length}
    return {"settings": settings, "texts": texts, "diversity": diversity(texts)}


class Recorder:
    """Writes the evidence of a run; see ``lmbench.benchmark.evidence`` for the files."""

    def __init__(self, plan: Plan, folder: RunFolder, journal: Journal) -> None:
        self.plan, self.folder, self.journal = plan, folder, journal

    def begin(self) -> None:
        """The held-out text, once a run."""
        if self.folder.heldout.is_file() and self.folder.heldout.with_suffix(".json").is_file():
            return
        self._try("the held-out text is not kept", lambda: self.folder.write_heldout(self._heldout))

    def complete(self, results: Sequence[Result]) -> None:
        """Make what the finished ``results`` lack, as those of an earlier version do, from their models."""
        for result in results:
            if not (lacking := self._lacking(result)):
                continue
            self.journal.begin(result.label)
            try:
                model = registry.load(self.folder.model(result.folder))
            except (ModelError, OSError, ValueError, KeyError, TypeError) as error:
                self.journal.note(
                    f"lacks {' and '.join(lacking)} for the report, and its model cannot be read: {error}"
                )
                continue
            self.record(model, result)

    def record(self, model: LanguageModel, result: Result) -> None:
        """Make what ``result`` lacks. Raises ResultsError where it cannot be written."""
        if not processes().alone:
            self.journal.note("sentences and samples for the report are left to --resume in one process")
            return
        began, lacking = time.perf_counter(), self._lacking(result)
        for name in lacking:
            self._try(f"no {name} for the report", partial(self._make[name], model, result))
        if lacking:
            self.journal.note(f"{' and '.join(lacking)} for the report took {time.perf_counter() - began:.1f} s")

    @cached_property
    def _make(self) -> dict[str, Callable[[LanguageModel, Result], None]]:
        return {"token scores": self._score, "sentences": self._read, "samples": self._write}

    def _lacking(self, result: Result) -> list[str]:
        there = {
            "token scores": self.folder.token_nats(result.folder).is_file(),
            "sentences": result.label in (self.folder.read_reader() or {}).get("models", {}),
            "samples": result.label in (self.folder.read_samples() or {}),
        }
        return [name for name in self._make if not there[name]]

    def _score(self, model: LanguageModel, result: Result) -> None:
        scores = score(model, self.plan.data.corpus, "test", context=self.plan.recipe.context)  # type: ignore[arg-type]
        self.folder.write_token_nats(result.folder, scores.token_nats[:LIMIT])

    def _read(self, model: LanguageModel, result: Result) -> None:
        content = self.folder.read_reader() or {"sentences": self._choose(), "models": {}}
        sentences, line = content["sentences"], self.plan.data.corpus.line
        entries = read_aloud(model, [self._text(sentence["unit"]) for sentence in sentences], line)
        if model.tokenizer.vocabulary.sha256 == self.plan.data.tokenizer.vocabulary.sha256:
            entries = [
                # The newline after mere text is asked for, and is no part of it.
                {name: entry[name] and entry[name][: len(sentence["tokens"])] for name in FIGURES}
                for entry, sentence in zip(entries, sentences, strict=True)
            ]
        self.folder.write_reader({**content, "models": {**content["models"], result.label: entries}})

    def _write(self, model: LanguageModel, result: Result) -> None:
        heldout = self._heldout
        characters = sum(map(len, self.plan.data.corpus.test.units)) / heldout.events
        longest = max(1, round(CHARACTERS / characters))
        samples = write_samples(model, longest, self.plan.recipe.seed)
        self.folder.write_samples({**(self.folder.read_samples() or {}), result.label: samples})

    @cached_property
    def _heldout(self) -> Heldout:
        return hold_out(self.plan.data)

    def _choose(self) -> list[dict[str, Any]]:
        """Some passages of the test split, drawn by the seed of the run, in their order."""
        chosen: list[tuple[int, np.ndarray]] = []
        left = TOKENS
        for unit in np.random.default_rng(self.plan.recipe.seed).permutation(len(self._heldout.passages)).tolist():
            ids = self._ids(unit)
            if not SHORTEST <= len(ids) <= LONGEST:
                continue
            left -= len(ids)
            if len(chosen) == SENTENCES or left < 0:
                break
            chosen.append((unit, ids))
        chosen.sort(key=itemgetter(0))
        tokenizer = self.plan.data.tokenizer
        sentences = [{"unit": unit, "tokens": tokenizer.tokens(ids)} for unit, ids in chosen]
        return _gathered(tokenizer, [self._text(unit) for unit, _ in chosen], [ids for _, ids in chosen], sentences)

    def _text(self, unit: int) -> str:
        """A passage as the models are given it."""
        if self.plan.data.corpus.line == "sentence":
            return self.plan.data.corpus.test.units[unit]
        return self._heldout.text(*self._heldout.passage(unit)).strip()

    def _ids(self, unit: int) -> np.ndarray:
        """The tokens of a passage, int32; none where a part of a document cannot stand alone: it would be cut otherwise
        between newlines, or it hides characters."""
        tokenizer, text = self.plan.data.tokenizer, self._text(unit)
        ids = tokenizer.encode([text]).ids[1:]
        if self.plan.data.corpus.line == "text":
            ids, before = ids[:-1], len(tokenizer.encode(["\n"]).ids) - 2
            between = tokenizer.encode([f"\n{text}\n"]).ids[1 + before :]
            hidden = tokenizer.kind != "word" and tokenizer.vocabulary.unknown in ids
            if hidden or not np.array_equal(between[: len(ids)], ids):
                return ids[:0]
        return ids

    def _try(self, failing: str, make: Callable[[], None]) -> None:
        try:
            make()
        except ResultsError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the numbers stand
            self.journal.failure(error)
            self.journal.note(f"{failing}: {type(error).__name__}: {error}")
