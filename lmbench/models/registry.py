"""``"lstm:hidden=650"`` -> a model object; a folder -> the model kept in it.

Names resolve lazily: nothing heavy is imported before a model is built. Other packages add families
through the entry-point group ``lmbench.models`` (name = "module:Class").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from lmbench import specification
from lmbench.corpus.huggingface import CONFIG_FILE
from lmbench.errors import UsageError, unknown_name
from lmbench.models.base import MODEL_FILE, LanguageModel, Trainable, read_model

MODELS: dict[str, str] = {
    "uniform": "lmbench.models.uniform:Uniform",
    "source": "lmbench.models.source:Source",
    "mixture": "lmbench.models.mixture:Mixture",
    "cache": "lmbench.models.cache:Cache",
    "dynamic": "lmbench.models.dynamic:Dynamic",
    "neural-cache": "lmbench.models.neural_cache:NeuralCache",
    "neighbours": "lmbench.models.neighbours:Neighbours",
    "ngram": "lmbench.models.ngram.model:NGram",
    "class-ngram": "lmbench.models.class_ngram:ClassNGram",
    "skip": "lmbench.models.skip:Skip",
    "infinigram": "lmbench.models.infinigram.model:Infinigram",
    "kenlm": "lmbench.models.kenlm:KenLM",
    "ffnn": "lmbench.models.feedforward:FeedForward",
    "cnn": "lmbench.models.convolution:Convolution",
    "rnn": "lmbench.models.recurrent:RNN",
    "gru": "lmbench.models.recurrent:GRU",
    "lstm": "lmbench.models.recurrent:LSTM",
    "mingru": "lmbench.models.mingru:MinGRU",
    "mamba": "lmbench.models.mamba:Mamba",
    "gpt": "lmbench.models.gpt:GPT",
    "bert": "lmbench.models.bert:BERT",
    "pretrained": "lmbench.models.pretrained:Pretrained",
}


def names() -> dict[str, str]:
    """Every registered family: name -> "module:Class", those of other packages included."""
    others = {point.name: point.value for point in entry_points(group="lmbench.models")}
    return {**others, **MODELS}


def family(name: str) -> type[Any]:
    """The class registered under ``name``. Raises UsageError with the nearest name otherwise."""
    known = names()
    if name not in known:
        raise unknown_name("model", name, known)
    module, _, attribute = known[name].partition(":")
    return getattr(import_module(module), attribute)


def create(spec: str, defaults: Mapping[str, Any] | None = None) -> Trainable:
    """A new, unfitted model from ``name:key=value:...``, a mixture of several from ``one+another``, or one that wraps
    another from ``name(another):key=value``.

    The settings of a mixture itself stand first: ``mixture:buckets=confidence+ngram+cache``.

    ``defaults`` (such as seed and device) apply where the family has such a setting and ``spec`` does
    not give it. Raises UsageError for a name, key or value that cannot be.
    """
    if len(pieces := specification.parts(spec)) > 1:
        return _mixture(pieces, defaults)
    name, settings = specification.parse(spec)
    base, kind = specification.wrapped(spec)[1], family(name)
    if (base is not None) != getattr(kind, "wraps", False):
        raise UsageError(
            f"'{spec}' has a model in parentheses, but {name} wraps none. Write {name} alone."
            if base
            else f"'{name}' wraps another model, and '{spec}' names none. Write it in parentheses: {name}(lstm)."
        )
    if not hasattr(kind, "Config"):
        raise UsageError(
            f"'{name}' is not trained, so it cannot be created by name: lmbench models {name} says whence it comes."
        )
    has = {field.name for field in dataclasses.fields(kind.Config)}
    given = {key: value for key, value in (defaults or {}).items() if key in has and key not in settings}
    config = specification.configure(name, kind.Config, {**given, **settings})
    return kind(config) if base is None else kind(config, create(base, defaults))


def _mixture(pieces: list[str], defaults: Mapping[str, Any] | None) -> Trainable:
    """The mixture of these parts, each with the same ``defaults``."""
    from lmbench.models.mixture import Mixture, MixtureConfig

    name, settings = specification.parse(pieces[0])
    if name != Mixture.kind:
        name, settings, pieces = Mixture.kind, {}, ["", *pieces]
    config = specification.configure(name, MixtureConfig, settings)
    return Mixture(config, [create(piece, defaults) for piece in pieces[1:]])


def describe(model: LanguageModel) -> str:
    """The specification that names ``model``: every setting in which it differs from its family's defaults."""
    config = getattr(model, "config", None)
    own = model.kind if config is None else specification.describe(model.kind, config)
    parts = [describe(part) for part in getattr(model, "parts", ())]
    if getattr(model, "wraps", False):
        return f"{model.kind}({parts[0]}){own.removeprefix(model.kind)}"
    return "+".join(parts if parts and own == model.kind else [own, *parts])


def load(directory: str | Path) -> LanguageModel:
    """The model in ``directory``: one that was saved, or a pretrained one as ``transformers`` writes it.

    Raises ModelError where there is none.
    """
    directory = Path(directory)
    if not (directory / MODEL_FILE).exists() and (directory / CONFIG_FILE).exists():
        return family("pretrained").open(directory)
    _, state = read_model(directory)
    return family(state["kind"]).load(directory)
