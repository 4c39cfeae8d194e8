"""What to run, written down -> ``Recipe``: a frozen dataclass in Python, ``recipe.toml`` on disk.

A recipe holds everything that decides the numbers of a run: the same recipe on the same machine gives the same
table. One that repeats a paper also holds what was published, to stand beside what is measured; such recipes come with
lmbench, in ``lmbench/recipes``. A recipe is checked as far as words can be before anything is read or trained.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lmbench import specification
from lmbench.benchmark.sizes import Sizes, read_sizes
from lmbench.corpus.spelling import spelling
from lmbench.corpus.tokenizers import TOKENIZERS
from lmbench.errors import UsageError, unknown_name
from lmbench.models import registry
from lmbench.training.budget import Budget
from lmbench.training.checkpoints import write_text

LEAST_TOKENS = 10_000
"""Smallest generated corpus of a run."""
SHIPPED = Path(__file__).parents[1] / "recipes"
"""Where the recipes lie that come with lmbench, each a TOML file."""
MEASURED_ON = ("corpus", "tokenizer", "line", "tokens", "train_sizes")
"""Fields without which all published figures are those of something else."""
TABLES = ("models", "budgets", "published", "train_sizes")
"""Fields that are no single number or text."""


@dataclass(frozen=True)
class Published:
    """A figure that somebody published of a model, to stand beside the measured one.

    >>> str(Published(114.5, source="Zaremba, Sutskever & Vinyals 2014, table 1"))
    '114.5, test perplexity (Zaremba, Sutskever & Vinyals 2014, table 1)'
    """

    figure: float
    """The figure as it was printed."""
    source: str
    """Paper and table, and what else the figure depends on."""
    unit: str = "perplexity"
    """``perplexity``, or ``nats`` per token."""
    split: str = "test"
    """``test``, ``valid``, or ``valid+test``: both together, where lmbench cuts in two what was one."""

    def __post_init__(self) -> None:
        number = isinstance(self.figure, (int, float)) and not isinstance(self.figure, bool)
        if not number or not 0 < self.figure < math.inf:
            raise UsageError(f"A published figure must be a number above 0, not {self.figure!r}.")
        if not isinstance(self.source, str) or not self.source:
            raise UsageError(f"The source of the published figure {self.figure} must be a text, not {self.source!r}.")
        for key, choices in (("unit", ("perplexity", "nats")), ("split", ("test", "valid", "valid+test"))):
            if getattr(self, key) not in choices:
                raise unknown_name(f"{key} of a published figure called", str(getattr(self, key)), choices)

    def __str__(self) -> str:
        return f"{self.figure:g}, {self.split} {self.unit} ({self.source})"


@dataclass(frozen=True)
class Recipe:
    """One run: which models, on which text, at what cost.

    >>> Recipe(models="ngram:order=3,uniform").models
    ('ngram:order=3', 'uniform')
    """

    models: tuple[str, ...]
    """Specifications in the order in which they run; also one comma-separated text."""
    corpus: str = "english"
    """A catalog name, or the path of a file or folder."""
    tokenizer: str | None = None
    """word, char, byte or bpe, with settings: ``bpe:size=8000``; by default that of the corpus' published figures, or
    word."""
    budget: str = "60s"
    """Training of each model: seconds, steps or epochs (``60s``, ``2000steps``, ``5epochs``)."""
    budgets: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    """That of a model which is to be trained longer or shorter than the others, by its name in the table: for mixtures
    as good as they can be made, where nothing is compared at equal cost."""
    seeds: int = 1
    """How often each model that draws random numbers is trained, with seeds seed, seed + 1, ..."""
    seed: int = 1
    """The first seed; also that of the corrupted sentences, and of the choice of text for ``train_sizes``."""
    candidates: str | None = None
    """File of candidates to rank, or folder of paradigms; by default those of the corpus, or corrupted held-out
    sentences."""
    spelling: str | None = None
    """How these candidates are spelled anew: ``ptb``, as the Penn Treebank; by default they stay as they are given."""
    device: str = "auto"
    """Where networks are trained: auto, cpu, cuda, mps."""
    context: str | None = None
    """History of every model in scoring: ``sentence`` or ``stream``; by default each model's own."""
    line: str | None = None
    """What a line of the corpus is: ``sentence`` or mere ``text``; by default what the catalog declares."""
    tokens: int | None = None
    """Size of a corpus that is generated; by default the corpus' own choice."""
    train_sizes: Sizes | None = None
    """Tokens of the training split that each model is trained on, one model for each size: ``(10_000, "full")``, also
    a text, ``1e4,100k,full``; by default the whole split."""
    published: Mapping[str, Published] = dataclasses.field(default_factory=dict, hash=False)
    """What was published of a model, by its name in the table: ``figure``, ``unit``, ``split``, ``source``."""

    def __post_init__(self) -> None:
        given = specification.split(self.models) if isinstance(self.models, str) else self.models
        if not isinstance(given, (list, tuple)):
            raise UsageError(f'models must be a list such as ["ngram", "lstm:hidden=256"], not {given!r}.')
        object.__setattr__(self, "models", tuple(given))
        object.__setattr__(self, "budget", str(self.budget))
        self._check_types()
        self._check_models()
        object.__setattr__(self, "budgets", self._read_budgets())
        object.__setattr__(self, "published", self._read_published())
        if self.train_sizes is not None:
            object.__setattr__(self, "train_sizes", read_sizes(self.train_sizes))
        if self.train_sizes and self.published:
            raise UsageError("What was published is of a whole text: leave out either published or train_sizes.")
        name, settings = specification.parse(self.tokenizer or "word")
        if name not in TOKENIZERS:
            raise unknown_name("tokenizer", name, TOKENIZERS)
        specification.configure(name, TOKENIZERS[name].Config, settings)
        if self.seeds < 1:
            raise UsageError(f"seeds is how often each model is trained, so at least 1, not {self.seeds}.")
        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more, not {self.seed}.")
        if self.tokens is not None and self.tokens < LEAST_TOKENS:
            raise UsageError(
                f"tokens is the size of the generated corpus, so at least {LEAST_TOKENS:,}, not {self.tokens:,}: "
                "a smaller one leaves most of the words unknown."
            )
        spelling(self.spelling or "given")
        if self.spelling not in (None, "given") and self.candidates is None:
            raise UsageError(
                f"spelling={self.spelling} is that of a file of candidates, and none is named. Add candidates, or "
                "leave it out: those that a corpus brings are in its own spelling."
            )
        for key, choices in (("context", ("sentence", "stream")), ("line", ("sentence", "text"))):
            value = getattr(self, key)
            if value is not None and value not in choices:
                raise unknown_name(key, value, choices)

    @property
    def all_seeds(self) -> range:
        """The seeds of the run, in order."""
        return range(self.seed, self.seed + self.seeds)

    def budget_of(self, model: str) -> str:
        """The budget of the model of that name."""
        return self.budgets.get(model, self.budget)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], origin: str = "the recipe") -> Self:
        """The recipe with these fields. Raises UsageError for an unknown or missing one, or a wrong type."""
        known = [field.name for field in dataclasses.fields(cls)]
        for key in content:
            if key not in known:
                raise unknown_name(f"entry of {origin} named", key, known)
        if "models" not in content:
            raise UsageError(f'{origin} names no models. Write for example models = ["ngram", "lstm"].')
        return cls(**content)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The recipe in the TOML file at ``path``, or the one that comes with lmbench under that name.

        A file goes first where it is there, or where the name ends in ``.toml``. Raises UsageError that says what is
        wrong where.
        """
        if not (Path(path).is_file() or Path(path).suffix == ".toml"):
            known = shipped()
            if str(path) not in known:
                raise unknown_name("recipe, and no file, called", str(path), known)
            path = known[str(path)]
        try:
            content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"The recipe {path} cannot be read: {error.strerror or error}. Check the path.") from None
        except UnicodeDecodeError as error:
            raise UsageError(f"The recipe {path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from None
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"The recipe {path} is not TOML: {error}. Compare it with recipe.toml of a run.") from None
        return cls.from_dict(content, str(path))

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set, as TOML and JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values |= {"models": list(self.models), "budgets": dict(self.budgets) or None}
        values |= {"train_sizes": list(self.train_sizes) if self.train_sizes else None}
        values |= {"published": {name: dataclasses.asdict(figure) for name, figure in self.published.items()} or None}
        return {name: value for name, value in values.items() if value is not None}

    def to_toml(self) -> str:
        """The recipe as TOML. Numbers, strings and lists of strings are written the same way in JSON."""
        values = self.to_dict()
        tables: dict[str, dict[str, Any]] = {}
        if budgets := values.pop("budgets", None):
            tables["budgets"] = {_toml(name): budget for name, budget in budgets.items()}
        tables |= {f"published.{_toml(name)}": table for name, table in values.pop("published", {}).items()}
        lines = ["# lmbench run --recipe recipe.toml", *(f"{key} = {_toml(value)}" for key, value in values.items())]
        for heading, table in tables.items():
            lines += ["", f"[{heading}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Keep the recipe at ``path``, atomically."""
        write_text(path, self.to_toml())

    def changed(self, **settings: Any) -> Self:
        """The recipe with other ``settings``; what was published is lost on other text, and of models it lacks then.

        A model's own budget is kept with its name and specification, unless another ``budget`` is given: that is the
        budget of all.

        >>> recipe = Recipe(("ngram",), published={"ngram": Published(141.2, source="Mikolov 2012")})
        >>> recipe.changed(seed=2).published == recipe.published, recipe.changed(corpus="my.txt").published
        (True, {})
        """
        other = dataclasses.replace(self, **{"published": {}, "budgets": {}, **settings})
        same = dict(set(self.named) & set(other.named))
        kept = {
            "published": all(getattr(self, key) == getattr(other, key) for key in MEASURED_ON),
            "budgets": other.budget == self.budget,
        }
        of_same = {
            field: {name: value for name, value in getattr(self, field).items() if name in same}
            for field, stays in kept.items()
            if stays and field not in settings
        }
        return dataclasses.replace(other, **of_same)  # type: ignore[arg-type]

    def differences(self, other: Recipe) -> list[str]:
        """One ``field: here, there`` for each field in which the two differ."""
        return [
            f"{field.name}: {getattr(self, field.name)!r} here, {getattr(other, field.name)!r} there"
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        ]

    def _check_types(self) -> None:
        """Raise UsageError where a value, from a file perhaps, is of the wrong type."""
        wanted = {"seeds": int, "seed": int, "tokens": int}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in TABLES or (value is None and field.default is None):
                continue
            kind = wanted.get(field.name, str)
            if not isinstance(value, kind) or isinstance(value, bool):
                noun = "a whole number" if kind is int else "a text"
                raise UsageError(f"{field.name} must be {noun}, not {value!r}.")

    @property
    def named(self) -> list[tuple[str, str]]:
        """Name and specification of each model, the same where it was given no name of its own."""
        return specification.named(self.models)

    def _check_table(self, field: str, example: str, noun: str) -> None:
        """Raise UsageError where what ``field`` says of models is no table, or tells of a model that is not here."""
        table, names = getattr(self, field), [name for name, _ in self.named]
        if not isinstance(table, Mapping):
            raise UsageError(f"{field} must be a table {example}, not {table!r}.")
        for name in table:
            if name not in names:
                raise unknown_name(f"model in this recipe, though it has {noun}, called", name, names)

    def _read_published(self) -> dict[str, Published]:
        """The published figures, from tables where a file gave them. Raises UsageError for what is none."""
        self._check_table("published", "for each model, [published.NAME]", "a published figure")
        keys = [field.name for field in dataclasses.fields(Published)]
        read: dict[str, Published] = {}
        for name, given in self.published.items():
            if isinstance(given, Mapping):
                for key in given:
                    if key not in keys:
                        raise unknown_name(f"entry of published.{name} named", key, keys)
                if missing := {"figure", "source"} - given.keys():
                    raise UsageError(
                        f"published.{name} lacks its {' and '.join(sorted(missing))}. Write for example figure = 114.5 "
                        'and source = "Zaremba 2014, table 1".'
                    )
                given = Published(**given)
            if not isinstance(given, Published):
                raise UsageError(f"published.{name} must be a table with figure and source, not {given!r}.")
            read[name] = given
        return read

    def _read_budgets(self) -> dict[str, str]:
        """The budgets of single models. Raises UsageError for one that cannot be, or that of a model not here."""
        Budget.parse(self.budget)
        self._check_table("budgets", 'such as [budgets] and lstm = "5m"', "a budget of its own")
        for name, budget in self.budgets.items():
            if not isinstance(budget, str):
                raise UsageError(f'budgets.{name} must be a text such as "5m", not {budget!r}.')
            try:
                Budget.parse(budget)
            except UsageError as error:
                raise UsageError(f"budgets.{name}: {error}") from None
        return dict(self.budgets)

    def _check_models(self) -> None:
        if not self.models:
            raise UsageError("No model is named. Give at least one, for example --models ngram,lstm,gpt.")
        known = registry.names()
        for model in self.models:
            if not isinstance(model, str):
                raise UsageError(f"models must be texts such as 'lstm:hidden=256', not {model!r}.")
            if self.models.count(model) > 1:
                raise UsageError(
                    f"The model '{model}' is named twice. To train it several times, ask for more seeds (--seeds 3); "
                    "to compare settings, give each its own (ngram:order=3,ngram:order=5)."
                )
        names = self.named
        if len(names) < len(self.models):
            raise UsageError("Two models have the same name before their =: a table could not tell them apart.")
        for name, model in names:
            if name != model and name in known:
                raise UsageError(f"'{name}={model}' gives a model the name of a family. Choose another name for it.")
            for family in specification.families(model):
                if family not in known:
                    raise unknown_name("model", family, known)


def shipped() -> dict[str, Path]:
    """The recipes that come with lmbench: name -> file."""
    return dict(sorted((path.stem, path) for path in SHIPPED.glob("*.toml")))


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
