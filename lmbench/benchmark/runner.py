"""Recipe -> a folder of results: each model trained, scored, ranked; one that fails never loses the others.

::

    check everything        recipe, models, folder, corpus, candidates: before a second of training
    for each seed, model    fit -> keep -> score test and valid -> rank candidates -> write its files
                            unmeasured: sentences and samples for the report
    after each              metrics.json and table.csv anew, so that a run can be cut off at any moment

A run that was cut off goes on with ``resume``: finished models are read, one that was being trained goes on from
its checkpoint, one that had failed is tried again.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lmbench.benchmark.environment import PeakMemory, describe_environment, load_libraries
from lmbench.benchmark.journal import Journal, RunProgress
from lmbench.benchmark.measures import candidate_rows, headline, with_ranking, with_scores
from lmbench.benchmark.plan import SOURCE, Job, Plan, check_folder, finished, make_plan
from lmbench.benchmark.recipe import Recipe
from lmbench.benchmark.records import LIMIT, Recorder
from lmbench.benchmark.results import Key, Result, RunFolder
from lmbench.corpus.text import Corpus
from lmbench.errors import ModelError, ResultsError
from lmbench.models import registry
from lmbench.models.base import LanguageModel, Trainable
from lmbench.models.composed import Composed
from lmbench.scoring.scorer import score
from lmbench.tasks.ranking import rank
from lmbench.training.budget import Budget, FitReport, Step
from lmbench.training.checkpoints import Checkpoints, write_json
from lmbench.training.distributed import processes


@dataclass(frozen=True)
class RunResult:
    """What a run came to. ``path``: its folder; ``results``: one of each model and seed, in the order of the run."""

    path: Path
    results: tuple[Result, ...]

    @property
    def failed(self) -> tuple[Result, ...]:
        """The models that did not get through, with their reasons."""
        return tuple(result for result in self.results if result.status == "failed")


def run(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    progress: RunProgress | None = None,
    corpus: Corpus | None = None,
    on_results: Callable[[Path], object] | None = None,
) -> RunResult:
    """Train, score and rank every model of ``recipe``; write everything into the folder ``out``.

    ``resume``: go on with the run that ``out`` holds. ``progress``: where to report. ``corpus``: use this one instead
    of loading what the recipe names. ``on_results``: called with ``out`` whenever its tables were rewritten.

    A model that fails is recorded with its reason and the others go on; see ``RunResult.failed``. Raises UsageError,
    CorpusError or ModelError for what is wrong before the first training, ResultsError where the folder cannot be
    written, and KeyboardInterrupt on SIGINT or SIGTERM, when all that was done is kept.
    """
    folder = RunFolder(out)
    plan = make_plan(recipe, corpus, check=lambda recipe: check_folder(folder, recipe, resume))
    done = finished(folder, plan) if resume else []
    load_libraries()
    processes().wait()  # before one of them makes the folder, all have looked
    folder.create()
    plan.recipe.write(folder.recipe)
    folder.write_environment(describe_environment())
    work = _Run(plan, folder, Journal(folder.log, progress), {result.key: result for result in done})
    with _terminable():
        return work.all(on_results if on_results and processes().leads else (lambda path: None))


@dataclass
class _Run:
    """A run in progress: what is the same for all its models, and the results so far."""

    plan: Plan
    folder: RunFolder
    journal: Journal
    results: dict[Key, Result] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recorder = Recorder(self.plan, self.folder, self.journal)

    def all(self, on_results: Callable[[Path], object]) -> RunResult:
        """Every job that is not done yet; the tables anew after each."""
        waiting = [job for job in self.plan.jobs if job.key not in self.results]
        self._open(len(waiting))
        self._write(on_results)
        self.recorder.begin()
        self.recorder.complete(self._ordered())
        for job in waiting:
            try:
                self.results[job.key] = self._one(job)
            except KeyboardInterrupt:
                self.journal.note("interrupted; what was done is kept, and --resume goes on from here")
                raise
            self._write(on_results)
            processes().wait()  # what process 0 has written, the others may read
        return RunResult(self.folder.path, self._ordered())

    def _open(self, waiting: int) -> None:
        """What the whole run is about, for the log and for whoever watches."""
        splits, name = self.plan.facts["corpus"]["splits"], self.plan.data.corpus.name
        sizes = ", ".join(f"{split} {content['events']:,}" for split, content in splits.items())
        self.journal.note(f"{name} in {self.plan.data.tokenizer.spec} tokens: {sizes} events")
        self.journal.note(f"{len(self.plan.sets):,} candidate sets: {self.plan.origin}")
        for note in self.plan.notes:
            self.journal.note(note)
        if waiting < len(self.plan.jobs):
            self.journal.note(f"{len(self.plan.jobs) - waiting} of {len(self.plan.jobs)} models were finished before")

    def _ordered(self) -> tuple[Result, ...]:
        return tuple(self.results[job.key] for job in self.plan.jobs if job.key in self.results)

    def _write(self, on_results: Callable[[Path], object]) -> None:
        self.folder.write_results(self.plan.facts, self._ordered())
        on_results(self.folder.path)

    def _one(self, job: Job) -> Result:
        """Train, score and rank one model. What it reached before it failed is kept."""
        result = Result(job.name, job.seed, folder=job.folder, train_tokens=job.train_tokens)
        if published := self.plan.recipe.published.get(job.name):
            result = replace(result, published=published.figure, details={"published": asdict(published)})
        if own := self.plan.recipe.budgets.get(job.name):
            result = replace(result, details={**result.details, "budget": own})
        self.journal.begin(result.label)
        try:
            with PeakMemory() as peak:
                model, result = self._fit(job, result, peak)
                result = self._score(model, result)
                result = self._rank(model, result)
        except ResultsError:  # the folder is the trouble, not the model: the others would fare no better
            raise
        except Exception as error:
            if not processes().failed_together():
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self.journal.failure(error)
            self.journal.note(f"failed: {reason}")
            return replace(result, status="failed", reason=reason)
        self.recorder.record(model, result)
        return replace(
            result,
            peak_memory_mib=_larger(result.peak_memory_mib, peak.mib),
            memory_added_mib=_larger(result.memory_added_mib, peak.added_mib),
            peak_device_memory_mib=_larger(result.peak_device_memory_mib, peak.device_mib),
        )

    def _fit(self, job: Job, result: Result, peak: PeakMemory) -> tuple[LanguageModel, Result]:
        """The model, trained or as it was kept, and what its training cost."""
        directory, path = self.folder.model(job.folder), self.folder.fit(job.folder)
        kept = self._kept(job)
        if kept is not None:
            model, facts = kept
            self.journal.note("was trained before; it is read, not trained again")
        else:
            model, report = self._train(job)
            model.save(directory)
            spec, text = registry.describe(model), self._text(job)
            facts = {"specification": spec, "peak_memory_mib": peak.read(), "text": text, "report": report}
            facts |= {"memory_added_mib": peak.added_mib, "peak_device_memory_mib": peak.device_mib}
            write_json(path, facts)
            Checkpoints(directory).clear()
        report = facts["report"]
        result = replace(
            result,
            kind=model.kind,
            specification=facts["specification"],
            parameters=int(model.parameters),
            peak_memory_mib=facts.get("peak_memory_mib"),
            memory_added_mib=facts.get("memory_added_mib"),
            peak_device_memory_mib=facts.get("peak_device_memory_mib"),
        )
        if not report:  # the source learns nothing
            return model, result
        return model, replace(
            result,
            train_seconds=report["train_seconds"],
            train_tokens_per_second=report["tokens_per_second"] or None,
            epochs=report["epochs"],
            stopped=report["stopped"],
            device=report["device"],
            precision=report["precision"],
            details={**result.details, "fit": report},
        )

    def _train(self, job: Job) -> tuple[LanguageModel, dict[str, Any]]:
        if job.spec == SOURCE and self.plan.source is not None:
            grammar = f"{int(self.plan.source.parameters):,} rules, those that the corpus was sampled from"
            self.journal.step("structure", grammar)
            self.journal.step("data", "none is needed: every probability is written in the rules")
            self.journal.step("forward", "p(w | h) = p(all sentences that begin with h w) / p(all that begin with h)")
            self.journal.step("backward", "there is nothing to learn, and nothing that could be learned better")
            return self.plan.source, {}
        model = self._new(job)
        if isinstance(model, Composed):
            self._lend(model, job)
        budget, directory = Budget.parse(self.plan.recipe.budget_of(job.name)), self.folder.model(job.folder)
        report = model.fit(self.plan.train(job), self.plan.data.valid, budget, self.journal, Checkpoints(directory))
        self._name_steps(report)
        return model, report.to_dict()

    def _new(self, job: Job) -> Trainable:
        """The untrained model; if this run has trained it with another seed, of that one's size: a run that goes on may
        find the machine faster or slower, and seeds of one name must be of one network. A training that has begun keeps
        what it began with, and the parts of other models are measured for themselves."""
        device = self.plan.recipe.device
        model: Any = job.create(device)
        begun = Checkpoints(self.folder.model(job.folder)).path.exists()
        if begun or not hasattr(getattr(model, "config", None), "seed"):
            return model
        for other in self.plan.jobs:
            result = self.results.get(other.key)
            trained_alike = other.spec != SOURCE and self._terms(other) == self._terms(job)
            if result is None or not result.specification or not trained_alike:
                continue
            twin: Any = other.create(device)
            if twin.kind == model.kind and replace(twin.config, seed=model.config.seed) == model.config:
                trained: Any = registry.create(result.specification)
                own = {"seed": model.config.seed}
                if getattr(trained.config, "compile", None):  # chosen for that one, perhaps on another machine
                    own["compile"] = model.config.compile
                model.config = replace(trained.config, **own)
                break
        return model

    def _terms(self, job: Job) -> tuple[str, int | None]:
        """Budget and size of the text that a model is trained with."""
        return self.plan.recipe.budget_of(job.name), job.train_tokens

    def _lend(self, composed: Composed, whole: Job) -> None:
        """Give ``composed``, that of ``whole`` or a part of it, the parts that this run has trained already on as much
        text, with what that cost."""
        jobs = [job for job in self.plan.jobs if job.train_tokens == whole.train_tokens]
        for number, part in enumerate(composed.parts):
            job = next((job for job in jobs if self._same(job, part)), None)
            result = self.results.get(job.key) if job else None
            if job is None or result is None:
                if isinstance(part, Composed):
                    self._lend(part, whole)
                continue
            if result.status == "failed":
                raise ModelError(f"its part {result.label} failed in this run: {result.reason}")
            if kept := self._kept(job):
                model, facts = kept
                composed.take(number, model, FitReport.from_dict(facts["report"]), self.folder.model(job.folder))
                self.journal.note(f"part {number + 1} is {result.label} of this run, read and not trained again")
            elif self._terms(job) != self._terms(whole):
                own = self.plan.recipe.budget_of(job.name)
                raise ModelError(
                    f"its part {result.label} was trained for {own}, a budget of its own, and cannot be read from "
                    f"{self.folder.model(job.folder)} now. Restore it, or begin anew with another --out."
                )

    def _same(self, job: Job, part: LanguageModel) -> bool:
        """Whether ``job`` trains what ``part`` would be trained to: the same family, settings and seed."""
        if job.spec == SOURCE:
            return False
        model = job.create(self.plan.recipe.device)
        return registry.describe(model) == registry.describe(part)

    def _name_steps(self, report: FitReport) -> None:
        """The steps that the model did not name itself, so that the log has all five of every model."""
        closed = report.stopped == "closed-form"
        steps: dict[Step, str] = {
            "data": f"{report.tokens:,} events were read",
            "forward": "ln p of each event, given what the model sees of the text",
            "backward": "closed form: nothing was learned step by step" if closed else f"{report.steps:,} updates",
        }
        for step, detail in steps.items():
            if step not in self.journal.steps:
                self.journal.step(step, detail)

    def _text(self, job: Job) -> str:
        """What a model was trained on: checksums of the corpus and of the vocabulary, and the size, if any."""
        data, size = self.plan.data, "" if job.train_tokens is None else f":{job.train_tokens}"
        return f"{data.corpus.sha256}:{data.tokenizer.vocabulary.sha256}{size}"

    def _kept(self, job: Job) -> tuple[LanguageModel, dict[str, Any]] | None:
        """A model that was trained to its end before the run was cut off, and its fit.json."""
        path = self.folder.fit(job.folder)
        if not path.is_file():
            return None
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            _ = facts["report"], facts["specification"]
            if facts["text"] != self._text(job):
                raise ModelError("it was trained on other text")
            return registry.load(path.parent), facts
        except (ModelError, OSError, ValueError, KeyError, TypeError) as error:
            self.journal.note(f"the model kept in {path.parent} cannot be read and is trained again: {error}")
            return None

    def _score(self, model: LanguageModel, result: Result) -> Result:
        """Perplexity and its kin on the test split, with the time it took; the sums go to scores/."""
        if "predict" not in self.journal.steps:
            self.journal.step("predict", f"ln p of the {self.plan.data.test.events:,} events of the test split")
        corpus, context = self.plan.data.corpus, self.plan.recipe.context
        began = time.perf_counter()
        test = score(model, corpus, "test", context=context)  # type: ignore[arg-type]
        seconds = time.perf_counter() - began
        self.folder.write_scores(result.folder, test, test.tokens.ends)
        self.folder.write_token_nats(result.folder, test.token_nats[:LIMIT])
        valid = score(model, corpus, "valid", context=context)  # type: ignore[arg-type]
        result = with_scores(result, test, valid, seconds, self.results.get((SOURCE, None, None)))
        self.journal.note(headline(result))
        return result

    def _rank(self, model: LanguageModel, result: Result) -> Result:
        """Order of the candidates, and how often the right one leads."""
        if not self.plan.sets:
            return result
        ranking = rank(model, self.plan.sets, by=self.plan.order, line=self.plan.data.corpus.line)
        self.folder.write_candidates(result, candidate_rows(ranking))
        return with_ranking(result, ranking)


def _larger(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known) if known else None


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the run as Ctrl-C does: what was done is kept."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
