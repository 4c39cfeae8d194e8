"""lmbench: language models of every generation, trained on the same text, in one honest table.

The names below are the whole of what a user needs in Python; each is imported when it is first used, so that
``import lmbench`` takes no time::

    corpus = lmbench.load_corpus("english")          a catalog name, a file, a folder
    data = corpus.tokenize("word")
    model = lmbench.create("lstm:hidden=256")
    model.fit(data.train, data.valid, lmbench.Budget(seconds=60))
    scores = lmbench.score(model, corpus)            lmbench.perplexity(scores), lmbench.bits_per_byte(scores)
    lmbench.inspect(model, ["the dogs bark"]).nats   surprisal of each token; also its rank, entropy, words
    lmbench.rank(model, ["the dogs bark", "the dogs barks"]).ordered(0)
    lmbench.generate(model, "the dogs", n=3)         lmbench.next_words(model, "the dogs")
    lmbench.run("ngram,lstm,gpt", corpus="english", budget="60s", out="results/first")
    lmbench.load_results("results/first", ...)       a pandas DataFrame, a row a model, seed and run
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lmbench.benchmark.frame import load_results as load_results
    from lmbench.benchmark.journal import RunProgress
    from lmbench.benchmark.recipe import Recipe as Recipe
    from lmbench.benchmark.runner import RunResult
    from lmbench.corpus.loading import load_corpus as load_corpus
    from lmbench.corpus.text import Corpus as Corpus
    from lmbench.models.registry import create as create
    from lmbench.models.registry import load as load
    from lmbench.scoring.inspection import inspect as inspect
    from lmbench.scoring.metrics import bits_per_byte as bits_per_byte
    from lmbench.scoring.metrics import bits_per_character as bits_per_character
    from lmbench.scoring.metrics import perplexity as perplexity
    from lmbench.scoring.scorer import score as score
    from lmbench.tasks.generation import generate as generate
    from lmbench.tasks.prediction import next_words as next_words
    from lmbench.tasks.ranking import rank as rank
    from lmbench.training.budget import Budget as Budget

_PUBLIC = {
    "Budget": "lmbench.training.budget",
    "Corpus": "lmbench.corpus.text",
    "Recipe": "lmbench.benchmark.recipe",
    "bits_per_byte": "lmbench.scoring.metrics",
    "bits_per_character": "lmbench.scoring.metrics",
    "create": "lmbench.models.registry",
    "generate": "lmbench.tasks.generation",
    "inspect": "lmbench.scoring.inspection",
    "load": "lmbench.models.registry",
    "load_corpus": "lmbench.corpus.loading",
    "load_results": "lmbench.benchmark.frame",
    "next_words": "lmbench.tasks.prediction",
    "perplexity": "lmbench.scoring.metrics",
    "rank": "lmbench.tasks.ranking",
    "score": "lmbench.scoring.scorer",
}
__all__ = sorted([*_PUBLIC, "__version__", "run"])


def run(
    models: str | Sequence[str] | Recipe,
    out: str | Path,
    *,
    corpus: str | Corpus | None = None,
    resume: bool = False,
    progress: RunProgress | None = None,
    **settings: Any,
) -> RunResult:
    """Train, score and rank ``models``; write every file and table of the run into the folder ``out``.

    ``models``: specifications, in a list or separated by commas, or a whole ``Recipe``. ``corpus``: a name, a path, or
    a corpus at hand. ``settings``: the other fields of ``Recipe``, such as ``tokenizer``, ``budget``, ``seeds``.
    For ``resume``, ``progress`` and the errors see ``lmbench.benchmark.runner.run``.
    """
    from lmbench.benchmark.recipe import Recipe
    from lmbench.benchmark.runner import run as run_recipe
    from lmbench.report.page import write_report
    from lmbench.report.tables import write_tables
    from lmbench.training.distributed import processes

    at_hand = None if corpus is None or isinstance(corpus, str) else corpus
    if isinstance(corpus, str):
        settings["corpus"] = corpus
    if isinstance(models, Recipe):
        recipe = models.changed(**settings)
    else:
        recipe = Recipe.from_dict({"models": models, **settings}, "lmbench.run")
    done = run_recipe(recipe, out, resume=resume, progress=progress, corpus=at_hand, on_results=write_tables)
    if processes().leads:
        write_report(out)
    return done


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lmbench' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
