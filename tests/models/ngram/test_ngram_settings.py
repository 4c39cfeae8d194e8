"""The settings of ``ngram``: what goes together, what is refused and why, and what a fit makes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import UsageError
from lmbench.models import registry
from lmbench.models.ngram.methods import METHODS
from lmbench.models.ngram.model import NGram, NGramConfig
from lmbench.scoring.scorer import token_log_probs
from lmbench.specification import describe

HERE = Path(__file__).parent
FLOAT32 = 1e-6
NAMES = [
    f"{name}:form={form}" if len(method.forms) > 1 else name
    for name, method in METHODS.items()
    for form in method.forms
]


def toy(part: str, tokenizer: str = "word:min_count=1") -> Tokens:
    train = (HERE / "toy.train.txt").read_text(encoding="utf-8").splitlines()
    text = (HERE / f"toy.{part}.txt").read_text(encoding="utf-8").splitlines()
    return train_tokenizer(tokenizer, train).encode(text)


TRAIN, TEST, RARE = toy("train"), toy("test"), toy("train", "word:min_count=2")


def fitted(settings: str, train: Tokens = TRAIN) -> NGram:
    model = registry.create(f"ngram:{settings}")
    assert isinstance(model, NGram)
    model.fit(train, train)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_every_method_fits_keeps_and_loads(name: str, tmp_path: Path) -> None:
    model = fitted(f"order=3:smoothing={name}")
    model.save(tmp_path)
    again = NGram.load(tmp_path)
    assert again.config == model.config
    assert again.normalized == model.normalized
    values = token_log_probs(again, TEST, "sentence")
    assert np.array_equal(values, token_log_probs(model, TEST, "sentence"))
    assert not np.isnan(values).any()
    following = model.next_log_probs(Batch.of_prefixes([TEST.ids[: n + 1] for n in range(20)]))
    if model.normalized:
        assert np.exp(following).sum(1) == pytest.approx(np.ones(20), abs=FLOAT32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tokenizer", ["word:min_count=1", "char", "byte"])
def test_no_text_is_too_small(name: str, tokenizer: str) -> None:
    for units in (["one"], [""], ["a a a a", ""], ["no no no", "no"]):
        tokens = train_tokenizer(tokenizer, units).encode(units)
        for order in (1, 3, 12):
            model = registry.create(f"ngram:order={order}:smoothing={name}")
            report = model.fit(tokens, tokens)
            assert len(report.notes) <= 1
            prefixes = Batch.of_prefixes([tokens.ids[:length] for length in range(1, len(tokens.ids))])
            sums = np.exp(model.next_log_probs(prefixes)).sum(1)
            assert sums == pytest.approx(np.ones(len(sums)), abs=1 if "stupid" in name else FLOAT32)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("smoothing=mle:form=backoff", "no backoff form"),
        ("smoothing=good-turing:form=interpolated", "no interpolated form"),
        ("k=0.5", "belongs to add-k"),
        ("smoothing=add-k:k=0", "above 0"),
        ("smoothing=witten-bell:discounts=0.5", "takes no discounts"),
        ("order=2:discounts=0.5-1-1.5", "given for 1 orders"),
        ("order=1:discounts=0.5-1", "three numbers"),
        ("order=1:smoothing=absolute:form=backoff:discounts=1", "below 1"),
        ("discounts=many", "cannot be read"),
        ("cutoffs=0-2-1", "none below the one before"),
        ("cutoffs=few", "cannot be read"),
        ("cutoffs=1-1", "up to the vocabulary"),
        ("vocabulary=99:closed=true", "exclude each other"),
        ("vocabulary=99:floor=false", "exclude each other"),
        ("smoothing=add-k:floor=false", "without a floor"),
        ("prune_threshold=1e-8:entries=9", "to a threshold or"),
        ("smoothing=mle:entries=9", "leaves none to move"),
        ("entries=0", "entries is a number"),
        ("prune_threshold=-1", "small number"),
        ("smoothing=kneser", "kneser-ney"),
    ],
)
def test_what_cannot_be_is_refused(settings: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        registry.create(f"ngram:{settings}")


@pytest.mark.parametrize(
    ("settings", "train", "reason"),
    [
        ("closed=true", RARE, "training tokens are <unk>"),
        ("vocabulary=9", TRAIN, "less than the"),
        ("vocabulary=99999", toy("train", "byte"), "no <unk>"),
    ],
)
def test_what_does_not_go_with_the_text_is_refused(settings: str, train: Tokens, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        fitted(f"order=2:{settings}", train)


def test_unknown_words() -> None:
    unknown = TRAIN.tokenizer.vocabulary.unknown
    after = Batch.of_prefixes([np.array([0])])

    def share(settings: str, train: Tokens = TRAIN) -> float:
        return float(np.exp(fitted(f"order=2:{settings}", train).next_log_probs(after)[0, unknown]))

    floor = share("smoothing=modified-kneser-ney")
    size = TRAIN.vocabulary_size
    assert share("closed=true") == 0
    # N types, of which <unk> is all but the V - 1 words: its part of what is left grows from 1/V to (N - V + 1)/N.
    assert share(f"vocabulary={4 * size}") == pytest.approx(floor * size * (3 * size + 1) / (4 * size), rel=1e-5)
    assert share("floor=false") == pytest.approx(floor * size, rel=1e-5)
    assert share("smoothing=modified-kneser-ney", RARE) > 10 * floor  # a word like any other, since it was seen


def test_k_is_fitted_and_kept() -> None:
    model = fitted("order=2:smoothing=add-k")
    assert model.config.k is not None
    assert describe("ngram", replace(model.config, k=0.25)) == "ngram:order=2:smoothing=add-k:k=0.25"
    assert fitted("order=2:smoothing=add-k:k=0.25").config.k == 0.25


def test_discounts_are_read() -> None:
    given = fitted("order=2:discounts=0.4-1.4-2.1/0.7-1.2-1.5")
    again = registry.create(describe("ngram", given.config))
    assert again.config == given.config
    expected = fitted("order=2")
    assert not np.array_equal(given.table.orders[1].log_probs, expected.table.orders[1].log_probs)


def test_cutoffs_and_pruning_make_it_smaller() -> None:
    whole, cut = fitted("order=3"), fitted("order=3:cutoffs=0-0-1")
    assert cut.parameters < whole.parameters
    pruned = fitted(f"order=3:entries={whole.parameters // 2}")
    assert pruned.parameters <= whole.parameters // 2
    assert fitted("order=3:prune_threshold=1e-6").parameters < whole.parameters
    nats = [-token_log_probs(model, TEST, "sentence").mean() for model in (whole, cut, pruned)]
    assert max(nats) - min(nats) < 0.5


def test_configuration_from_python() -> None:
    config = NGramConfig(order=2, smoothing="absolute", discounts="0.5/0.5")
    model = NGram(config)
    model.fit(TRAIN, TEST)
    assert model.config == config
