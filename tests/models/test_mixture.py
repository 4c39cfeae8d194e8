"""Mixtures: of any models, with weights from held-out text, kept and read again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split, TokenizedCorpus
from lmbench.errors import ModelError, UsageError
from lmbench.models import power_mean, registry
from lmbench.models.base import Confident
from lmbench.models.mixture import Mixture, MixtureConfig
from lmbench.models.ngram.arpa.reading import read_arpa
from lmbench.models.ngram.arpa.writing import write_arpa
from lmbench.models.reading import open_reading
from lmbench.models.uniform import Uniform
from lmbench.scoring import metrics
from lmbench.scoring.scorer import score
from lmbench.training.budget import Budget, FitReport
from lmbench.training.checkpoints import Checkpoints

TINY = "lstm:hidden=8:batch_size=4:sequence_length=8:device=cpu"


@pytest.fixture(scope="module")
def data() -> TokenizedCorpus:
    random = np.random.default_rng(3)

    def text(lines: int) -> tuple[str]:  # each line says one word twice, so that a cache has something to find
        words = [f"w{number}" for number in range(12)]
        picks = ([*random.choice(words, 3), random.choice(words)] for _ in range(lines))
        return ("\n".join(" ".join([*pick, pick[0], pick[3]]) for pick in picks),)

    return Corpus("made", Split("train", text(200)), Split("valid", text(60)), Split("test", text(60))).tokenize("word")


def fitted(data: TokenizedCorpus, spec: str) -> Mixture:
    model = registry.create(spec)
    model.fit(data.train, data.valid, Budget(steps=5))
    assert isinstance(model, Mixture)
    return model


def test_it_is_the_weighted_sum_of_its_parts(data: TokenizedCorpus) -> None:
    model = fitted(data, "ngram:order=2+cache:order=1+uniform")
    rows = data.test.rows()[:5]
    batch = Batch.of([row.astype(np.int64) for row in rows])
    parts = np.stack([np.exp(part.log_probs(batch)) for part in model.parts])
    expected = np.tensordot(model.weights[0], parts, 1)
    np.testing.assert_allclose(np.exp(model.log_probs(batch))[batch.targets], expected[batch.targets])


def test_it_is_at_least_as_good_on_valid_as_every_part(data: TokenizedCorpus) -> None:
    for spec in ("ngram:order=2+cache+uniform", "mixture:buckets=confidence+ngram:order=2+cache+uniform"):
        model = fitted(data, spec)
        alone = [score(part, data.corpus, "valid").token_nats.mean() for part in model.parts]
        assert score(model, data.corpus, "valid").token_nats.mean() < min(alone) + 1e-6


def test_a_cache_makes_it_adapt_and_run_on_while_sentence_models_begin_anew(data: TokenizedCorpus) -> None:
    still, adapting = fitted(data, "ngram:order=2+uniform"), fitted(data, "ngram:order=2+cache")
    assert (still.context, still.adapts, still.max_context) == ("sentence", False, 1)
    assert (adapting.context, adapting.adapts, adapting.max_context) == ("stream", True, None)
    assert adapting.parameters == sum(part.parameters for part in adapting.parts)
    assert metrics.perplexity(score(still, data.corpus)) is not None
    scores = score(adapting, data.corpus)
    assert metrics.perplexity(scores) is None
    assert metrics.adaptive_perplexity(scores) is not None
    bigram = score(adapting.parts[0], data.corpus).token_nats
    stream = -adapting.parts[0].log_probs(Batch.of([data.test.ids.astype(np.int64)]))[0, 1:]
    np.testing.assert_allclose(stream, bigram)


class Knowing(Uniform):
    """Knows whether the token before was the boundary, and says so."""

    def confidence(self, batch: Batch) -> np.ndarray:
        before = np.roll(batch.ids, 1, axis=1)
        return (before == 0).astype(np.int64) * 20  # beyond what is told apart, and that is no error


def test_weights_depend_on_what_is_known_before_the_word(data: TokenizedCorpus) -> None:
    parts = [Knowing(), registry.create("ngram:order=1")]
    for part in parts:
        part.fit(data.train, data.valid)
    assert isinstance(parts[0], Confident)
    model = Mixture(MixtureConfig("confidence"), parts)
    notes, _ = model.fit_weights(data.valid)
    assert "2 buckets" in notes[0]
    general, inside, first = (
        model.weights
    )  # the end stands after every sixth word but never first: a unigram errs there
    assert first[0] > general[0] > inside[0]
    prefixes = Batch.of_prefixes([np.array([0]), np.array([0, 3])])
    shares = [np.exp(part.next_log_probs(prefixes)) for part in parts]
    expected = np.stack([first, inside])[:, 0, None] * shares[0] + np.stack([first, inside])[:, 1, None] * shares[1]
    np.testing.assert_allclose(np.exp(model.next_log_probs(prefixes)), expected)


def test_a_bucket_that_valid_did_not_show_takes_the_weights_of_all(data: TokenizedCorpus) -> None:
    model = fitted(data, "mixture:buckets=confidence+cache:order=2+uniform")
    batch = Batch.of([data.test.ids.astype(np.int64)])
    whole = model._rows(batch)
    model.keys, model.weights = model.keys[:1], model.weights[:2]
    assert set(np.unique(whole)) == {1, 2, 3}
    assert set(np.unique(model._rows(batch))) == {0, 1}


POWER = "mixture:mean=power+ngram:order=2+cache:order=1+uniform"


def test_a_power_mean_gives_one_distribution_whoever_asks(data: TokenizedCorpus, tmp_path) -> None:
    model = fitted(data, POWER)
    assert model.power != 1
    assert not (model.exponents == 1).any()
    row = data.test.ids[:30].astype(np.int64)
    prefixes = [row[:length] for length in range(1, len(row))]
    following = model.next_log_probs(Batch.of_prefixes(prefixes))
    shares = [part.next_log_probs(Batch.of_prefixes(prefixes)) for part in model.parts]
    together = sum(
        weight * np.exp(part) ** (exponent * model.power)
        for weight, exponent, part in zip(model.weights[0], model.exponents, shares, strict=True)
    ) ** (1 / model.power)
    np.testing.assert_allclose(np.exp(following), together / together.sum(1, keepdims=True), rtol=1e-4)
    batch = Batch.of([row, row[:7]])
    picked = following[np.arange(len(prefixes)), row[1:]]
    np.testing.assert_allclose(model.log_probs(batch)[0, 1:], picked, atol=1e-5)
    np.testing.assert_allclose(model.log_probs(batch)[1, 1:7], picked[:6], atol=1e-5)
    assert not model.log_probs(batch)[1, 7:].any()
    reading = open_reading(model, [row[:1]])
    for token, expected in zip(row[1:], following, strict=False):
        np.testing.assert_allclose(reading.log_probs[0], expected, atol=1e-5)
        reading.append(np.array([token]))
    model.save(tmp_path / "kept")
    np.testing.assert_array_equal(registry.load(tmp_path / "kept").log_probs(batch), model.log_probs(batch))


def test_a_power_mean_is_at_least_as_good_on_valid_as_the_sum(data: TokenizedCorpus) -> None:
    nats = [
        score(fitted(data, spec), data.corpus, "valid").token_nats.mean()
        for spec in (POWER, "ngram:order=2+cache:order=1+uniform")
    ]
    assert nats[0] < nats[1]


def test_a_power_mean_that_sees_few_events_takes_them_from_all_over(
    data: TokenizedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[np.ndarray, np.ndarray]] = []
    monkeypatch.setattr("lmbench.models.mixture.FEWEST_EVENTS", 20)
    monkeypatch.setattr("lmbench.models.mixture.CELLS", 1)
    fit = power_mean.fit_power_mean
    monkeypatch.setattr("lmbench.models.mixture.fit_power_mean", lambda *given: asked.append(given) or fit(*given))
    model = fitted(data, POWER)
    places = 1 + np.linspace(0, data.valid.events - 1, 20).astype(int)
    np.testing.assert_array_equal(asked[0][1], data.valid.ids[places])
    for part, rows in zip(model.parts, asked[0][0], strict=True):
        expected = part.log_probs(Batch.of([data.valid.ids.astype(np.int64)]))[0, places]
        np.testing.assert_allclose(rows[np.arange(20), asked[0][1]], expected, atol=1e-5)


def test_a_damaged_power_mean_is_told(data: TokenizedCorpus, tmp_path) -> None:
    fitted(data, POWER).save(tmp_path)
    path = tmp_path / "model.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**state, "exponents": [1.0]}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"damaged .*exponents of shape \(1,\) for 3 parts"):
        registry.load(tmp_path)


def test_seeds_of_one_family_make_an_ensemble(data: TokenizedCorpus, tmp_path) -> None:
    model = fitted(data, f"{TINY}:seed=1+{TINY}:seed=2")
    assert [part.config.seed for part in model.parts] == [1, 2]
    assert score(model, data.corpus).signature.seed is None
    model.save(tmp_path / "kept")
    again = registry.load(tmp_path / "kept")
    batch = Batch.of([data.test.ids[:50].astype(np.int64)])
    np.testing.assert_array_equal(again.log_probs(batch), model.log_probs(batch))
    assert registry.describe(again).count("+") == 1


def test_seed_and_device_pass_on_to_the_parts() -> None:
    model = registry.create(f"ngram+{TINY}", {"seed": 7, "device": "cpu"})
    assert model.parts[1].config.seed == 7
    assert registry.describe(model) == "ngram:device=cpu+lstm:batch_size=4:sequence_length=8:seed=7:device=cpu:hidden=8"


def test_its_own_settings_stand_first() -> None:
    text = "mixture:buckets=confidence+ngram:order=3+cache"
    model = registry.create(text)
    assert model.config == MixtureConfig("confidence")
    assert len(model.parts) == 2
    assert registry.describe(model) == text


def test_costs_are_added_up_and_weights_told(data: TokenizedCorpus) -> None:
    model = registry.create("ngram:order=2+uniform")
    model.take(0, registry.create("ngram:order=2"), FitReport(100.0, 5, notes=("first",)))
    model.parts[0].fit(data.train, data.valid)
    report = model.fit(data.train, data.valid)
    assert report.train_seconds > 100.0
    assert report.tokens == 5
    assert report.notes[0] == "first"
    assert " ngram:order=2, " in report.notes[1]
    assert report.valid_loss == pytest.approx(score(model, data.corpus, "valid").token_nats.mean())


def test_a_fit_that_was_cut_off_goes_on_from_the_part_that_was_done(
    data: TokenizedCorpus, tmp_path, monkeypatch
) -> None:
    spec, checkpoints = f"{TINY}+ngram:order=2", Checkpoints(tmp_path)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patched.setattr("lmbench.models.ngram.model.NGram.fit", _interrupt)
        registry.create(spec).fit(data.train, data.valid, Budget(steps=5), None, checkpoints)
    with monkeypatch.context() as patched:
        patched.setattr("lmbench.models.recurrent.LSTM.fit", _interrupt)  # it is not trained again
        model = registry.create(spec)
        report = model.fit(data.train, data.valid, Budget(steps=5), None, checkpoints)
    assert report.steps > 0
    assert score(model, data.corpus).normalized


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_models_of_other_tokens_are_refused(data: TokenizedCorpus) -> None:
    words, characters = registry.create("uniform"), registry.create("uniform")
    words.fit(data.train, data.valid)
    other = data.corpus.tokenize("char")
    characters.fit(other.train, other.valid)
    with pytest.raises(ModelError, match=r"uniform reads word.* tokens .* char.*same tokenizer"):
        Mixture(None, [words, characters]).fit_weights(data.valid)


def test_models_of_the_same_words_are_mixed_wherever_they_come_from(data: TokenizedCorpus, tmp_path) -> None:
    """An ARPA file does not tell how often words were seen nor why just these, which changes no id of any text."""
    ngram, cache = registry.create("ngram:order=2"), registry.create("cache")
    ngram.fit(data.train, data.valid)
    cache.fit(data.train, data.valid)
    write_arpa(tmp_path / "ngram.arpa", ngram)
    read = read_arpa(tmp_path / "ngram.arpa")
    assert read.tokenizer.to_dict() != cache.tokenizer.to_dict()
    mixture, same = Mixture(None, [read, cache]), Mixture(None, [ngram, cache])
    assert mixture.fit_weights(data.valid)[1] == pytest.approx(same.fit_weights(data.valid)[1], rel=1e-6)


@pytest.mark.parametrize(
    ("reads", "normalized", "why"), [("both", True, "both sides"), ("left", False, "distribution")]
)
def test_what_is_no_distribution_is_refused(reads: str, normalized: bool, why: str) -> None:
    odd = Uniform()
    odd.reads, odd.normalized = reads, normalized  # type: ignore[assignment]
    with pytest.raises(UsageError, match=f"uniform cannot be part of a mixture.*{why}"):
        Mixture(None, [odd, Uniform()])


@pytest.mark.parametrize(
    "text",
    [
        "mixture",
        "mixture:buckets=confidence",
        "mixture+ngram",
        "mixture:buckets=x+ngram+cache",
        "mixture:mean=power:buckets=confidence+ngram+cache",
    ],
)
def test_specifications_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match=r"at least two parts|buckets of mixture|cannot be had together"):
        registry.create(text)


def test_a_damaged_mixture_is_told(data: TokenizedCorpus, tmp_path) -> None:
    model = fitted(data, "ngram:order=2+uniform")
    model.weights = np.ones((1, 3))
    model.save(tmp_path)
    with pytest.raises(ModelError, match="damaged"):
        registry.load(tmp_path)
