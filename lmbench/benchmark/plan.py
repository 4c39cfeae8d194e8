"""Recipe -> ``Plan``: everything a run needs, found and checked before a second of training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lmbench import __version__, specification
from lmbench.benchmark.recipe import Recipe
from lmbench.benchmark.results import Key, Result, RunFolder
from lmbench.benchmark.sizes import at_each_size, in_tokens
from lmbench.corpus.batches import Tokens
from lmbench.corpus.loading import load_corpus
from lmbench.corpus.spelling import spelling
from lmbench.corpus.subsets import subset
from lmbench.corpus.text import Corpus, TokenizedCorpus
from lmbench.corpus.tokenizers import Tokenizer
from lmbench.errors import CorpusError, ModelError, ResultsError, UsageError
from lmbench.models import registry
from lmbench.models.base import LanguageModel, Trainable
from lmbench.tasks.candidates import respelled
from lmbench.tasks.ranking import CandidateSet, Order, candidate_sets, read_candidates

SOURCE = "source"
LONGEST_NAME = 120
"""Bytes in the name of a model's folder: file systems allow 255, and seeds and suffixes follow."""


@dataclass(frozen=True)
class Job:
    """One model with one seed, None where it draws no random numbers. ``folder``: under models/ and scores/.

    ``name``: what tables call it, ``spec`` itself unless the recipe gave it a name. ``train_tokens``: how much of the
    training split it is trained on, None for all of it in a run that does not compare sizes.
    """

    name: str
    spec: str
    seed: int | None
    folder: str
    train_tokens: int | None = None

    @property
    def key(self) -> Key:
        return (self.name, self.seed, self.train_tokens)

    def create(self, device: str) -> Trainable:
        """The model, not yet fitted. Raises UsageError for settings that cannot be."""
        defaults: dict[str, Any] = {"device": device}
        if self.seed is not None:
            defaults["seed"] = self.seed
        return registry.create(self.spec, defaults)


@dataclass(frozen=True)
class Plan:
    """What is the same for all models of a run.

    ``data``: the corpus and its tokenizer. ``sets``: candidates to rank, decided by ``order``; ``origin`` says where
    they come from. ``jobs``: the models in the order in which they run, the source first where there is one.
    ``source``: the distribution that the corpus was sampled from, as a model. ``notes``: what a reader should know.
    """

    recipe: Recipe
    jobs: tuple[Job, ...]
    data: TokenizedCorpus
    sets: Sequence[CandidateSet]
    order: Order
    origin: str
    source: LanguageModel | None = None
    notes: tuple[str, ...] = ()

    def train(self, job: Job) -> Tokens:
        """What ``job`` is trained on: the training split, or as much of it as its size says."""
        whole = self.data.train
        return whole if job.train_tokens is None else subset(whole, job.train_tokens, self.recipe.seed)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What metrics.json says of the run as a whole."""
        corpus, tokenizer = self.data.corpus, self.data.tokenizer
        return {
            "lmbench": __version__,
            "recipe": self.recipe.to_dict(),
            "notes": list(self.notes),
            "corpus": {
                "name": corpus.name,
                "sha256": corpus.sha256,
                "language": corpus.language,
                "origin": corpus.origin,
                "line": corpus.line,
                "notes": list(corpus.notes),
                "splits": {split.name: self._split(split.name) for split in corpus},
            },
            "tokenizer": {
                "spec": tokenizer.spec,
                "vocabulary": len(tokenizer.vocabulary),
                "vocabulary_sha256": tokenizer.vocabulary.sha256,
            },
            "candidates": {
                "origin": self.origin,
                "sets": len(self.sets),
                "order": self.order,
                "sha256": _checksum([[list(s.candidates), s.answer, s.phenomenon] for s in self.sets]),
            },
        }

    def _split(self, name: str) -> dict[str, Any]:
        tokens = getattr(self.data, name)
        units = len(self.data.corpus.split(name).units)
        return {"units": units, "events": tokens.events, "unknowns": tokens.unknowns}


def make_plan(recipe: Recipe, corpus: Corpus | None, check: Callable[[Recipe], None]) -> Plan:
    """Find everything that ``recipe`` names, what is quick to check first; ``check`` looks at the output folder.

    ``corpus``: use this one instead of loading what the recipe names. Raises UsageError or CorpusError for what is
    wrong with a model, the corpus, the tokenizer or the candidates.
    """
    if corpus is not None:
        recipe = recipe.changed(corpus=corpus.name)
    check(recipe)
    jobs = _jobs(recipe)
    respell, _ = spelling(recipe.spelling or "given")
    given = None if recipe.candidates is None else respelled(read_candidates(recipe.candidates), respell)
    corpus = corpus or load_corpus(recipe.corpus, line=recipe.line, tokens=recipe.tokens)  # type: ignore[arg-type]
    sets, order, origin = _candidates(recipe, corpus, given)
    data = corpus.tokenize(recipe.tokenizer)
    _check_candidates(given or (), data.tokenizer, recipe)
    source, notes = _source(data)
    if recipe.train_sizes:
        sizes, told = in_tokens(recipe.train_sizes, data.train.events, corpus.name)
        jobs, notes = at_each_size(jobs, sizes), (*notes, *told)
    if source is not None:
        jobs = [Job(SOURCE, SOURCE, None, SOURCE), *jobs]
    plan = Plan(recipe, tuple(jobs), data, sets, order, origin, source, notes)
    _ = plan.facts  # encodes every split, so that text that cannot be encoded is found now
    return plan


def check_folder(folder: RunFolder, recipe: Recipe, resume: bool) -> None:
    """Raise UsageError where ``folder`` holds another run, or this one and nobody asked to go on with it.

    The same run with more models is this one: what they do not know of each other need not be done again.
    """
    if not folder.is_run():
        return
    if not resume:
        raise UsageError(
            f"{folder.path} already holds a run. Go on with it by --resume, or name another folder with --out."
        )
    before = Recipe.read(folder.recipe)
    if set(before.models) < set(recipe.models):
        known = {name for name, _ in before.named}
        of_new = {name: budget for name, budget in recipe.budgets.items() if name not in known}
        before = dataclasses.replace(
            before, models=recipe.models, published=recipe.published, budgets={**before.budgets, **of_new}
        )
    differences = before.differences(recipe)
    if differences:
        raise UsageError(
            f"{folder.path} holds a run of another recipe, so it cannot be resumed with this one: "
            f"{'; '.join(differences)}. Ask for the same, or for more models beside its own, or name another folder "
            "with --out."
        )


def finished(folder: RunFolder, plan: Plan) -> list[Result]:
    """The finished results in ``folder``; raises ResultsError where they belong to other text than today's.

    One whose folder a model of a grown run has taken, by a name that is written alike, is to be made again.
    """
    if not folder.metrics.is_file():
        return []
    before = folder.read_facts()
    for noun in ("corpus", "candidates"):
        if before.get(noun, {}).get("sha256") != plan.facts[noun]["sha256"]:
            raise ResultsError(
                f"The text of the {noun} changed since {folder.path} was begun, so old and new results could not be "
                "compared. Restore it, or begin anew in another folder with --out."
            )
    folders = {job.key: job.folder for job in plan.jobs}
    return [row for row in folder.read_results() if row.status == "done" and folders.get(row.key) == row.folder]


def _candidates(
    recipe: Recipe, corpus: Corpus, given: Sequence[CandidateSet] | None
) -> tuple[Sequence[CandidateSet], Order, str]:
    """The sets to rank, what decides, and where they come from, in words."""
    if given is not None:
        told = f", {spelling(recipe.spelling)[1]}" if recipe.spelling else ""
        return given, "total", f"{recipe.candidates}{told}"
    try:
        sets = candidate_sets(corpus, recipe.seed)
    except CorpusError as error:  # a text of very short lines; there is still its perplexity
        return (), "total", f"none. {error}"
    if corpus.pairs:
        return sets, "total", "minimal pairs of the corpus"
    # By token: a copy with a word less must not win by being short.
    return sets, "token", "held-out sentences and corrupted copies of them"


def _check_candidates(given: Sequence[CandidateSet], tokenizer: Tokenizer, recipe: Recipe) -> None:
    """Raise CorpusError, with the line, for a candidate that cannot be encoded: every model would fail on it."""
    for candidates in given:
        try:
            tokenizer.encode(candidates.candidates)
        except CorpusError as error:
            raise CorpusError(f"{recipe.candidates}, line {candidates.line}: {error}") from None


def _source(data: TokenizedCorpus) -> tuple[LanguageModel | None, tuple[str, ...]]:
    """The source of a generated corpus as a model, or why there is none in these tokens."""
    if data.corpus.grammar is None:
        return None, ()
    from lmbench.models.source import Source

    try:
        return Source(data.corpus.grammar, data.tokenizer), ()
    except ModelError as error:
        return None, (f"The source of the corpus is not shown. {error}",)


def _jobs(recipe: Recipe) -> list[Job]:
    """Every model with every seed, tried by creating it. Raises UsageError for settings that cannot be.

    A model that draws no random numbers, or whose seed is written into it, runs once: it would only repeat itself.
    What is made of other models comes after them, when they are trained.
    """
    jobs: list[Job] = []
    for seed in recipe.all_seeds:
        for called, spec in recipe.named:
            seeded = _draws(spec)
            if not seeded and seed != recipe.seed:
                continue
            name = _slug(called) + (f".seed{seed}" if seeded and recipe.seeds > 1 else "")
            folder = _unique(name, [SOURCE, *(job.folder for job in jobs)])
            jobs.append(Job(called, spec, seed if seeded else None, folder))
            if seed == recipe.seed:
                jobs[-1].create(recipe.device)
    if recipe.budgets:
        _check_budgets(recipe, jobs)
    return sorted(jobs, key=lambda job: specification.depth(job.spec))


def _check_budgets(recipe: Recipe, jobs: Sequence[Job]) -> None:
    """Raise UsageError where models that differ in nothing else have several budgets."""
    first: dict[str, Job] = {}
    for job in jobs:
        other = first.setdefault(registry.describe(job.create(recipe.device)), job)
        one, two = recipe.budget_of(other.name), recipe.budget_of(job.name)
        if one != two:
            raise UsageError(
                f"{other.name} and {job.name} are one model but for their budgets, {one} and {two}: a mixture could "
                "not tell them apart. Give one of them another seed."
            )


def _draws(spec: str) -> bool:
    """Whether the model takes the seed of the run."""
    if len(parts := specification.parts(spec)) > 1:
        return any(map(_draws, parts))
    name, settings = specification.parse(spec)
    base, config = specification.wrapped(spec)[1], getattr(registry.family(name), "Config", None)
    if base is not None:
        return _draws(base)
    return config is not None and "seed" not in settings and any(f.name == "seed" for f in dataclasses.fields(config))


def _slug(spec: str) -> str:
    """A name for a folder: what is neither letter, digit nor one of ``. _ = + -`` becomes ``-``; a long one is cut."""
    name = re.sub(r"[^\w.=+-]+", "-", spec).strip(".-") or "model"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return (
        f"{name.encode()[: LONGEST_NAME - 9].decode(errors='ignore')}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"
    )


def _unique(name: str, taken: Sequence[str]) -> str:
    """``name``, numbered where it is taken; capitals do not count, as some file systems ignore them."""
    small = {other.lower() for other in taken}
    names = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 2))
    return next(candidate for candidate in names if candidate.lower() not in small)


def _checksum(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
