"""Every registered model keeps the contract of ``lmbench.models.base``."""

from __future__ import annotations

import numpy as np
import pytest

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import ModelError
from lmbench.models.base import LanguageModel, Trainable
from lmbench.models.distributions import distributions
from lmbench.models.reading import open_reading
from lmbench.models.registry import MODELS, create, family, load
from lmbench.scoring.metrics import perplexity, pseudo_perplexity
from lmbench.scoring.scorer import score
from lmbench.training.budget import Budget

WORDS = "the a cat dog bird fish sees hears likes finds old young small".split()
SPECS = {
    "uniform": "uniform",
    "ngram": "ngram:order=3",
    "class-ngram": "class-ngram:order=3:classes=6",
    "skip": "skip:distances=1-3",
    "infinigram": "infinigram",
    "cache": "cache:order=3",
    "dynamic": "dynamic(lstm:hidden=16:batch_size=4:sequence_length=8:device=cpu):segment=2:rate=0.01:decay=0.01",
    "neural-cache": "neural-cache(gpt:feed_forward=swiglu:sliding_window=4:width=16:heads=2:layers=2:sequence_length=16"
    ":batch_size=4:device=cpu):size=5",
    "neighbours": "neighbours(gru:hidden=16:batch_size=4:sequence_length=8:device=cpu):size=300",
    "neighbours by windows": "neighbours(gpt:width=16:heads=2:layers=2:sequence_length=16:batch_size=4:device=cpu)",
    "mixture": "mixture:buckets=confidence+ngram:order=2+cache:order=2:half_life=20+uniform",
    "mixture by power": "mixture:mean=power+ngram:order=2+cache:order=2:half_life=20+uniform",
    "ffnn": "ffnn:order=4:width=16:layers=2:batch_size=4:sequence_length=8:device=cpu",
    "cnn": "cnn:width=16:layers=3:kernel=2:dilation=2:batch_size=4:sequence_length=8:device=cpu",
    "rnn": "rnn:hidden=16:activation=sigmoid:layers=2:batch_size=4:sequence_length=8:device=cpu",
    "gru": "gru:hidden=16:embedding_size=8:tied=no:batch_size=4:sequence_length=8:device=cpu",
    "lstm": "lstm:hidden=16:batch_size=4:sequence_length=8:device=cpu",
    "mingru": "mingru:width=16:layers=2:batch_size=4:sequence_length=8:device=cpu",
    "mamba": "mamba:width=16:layers=2:head_size=8:state_size=4:batch_size=4:sequence_length=8:device=cpu",
    "gpt": "gpt:width=16:heads=2:layers=2:sequence_length=16:batch_size=4:device=cpu",
    "bert": "bert:width=16:heads=2:layers=2:sequence_length=16:batch_size=4:device=cpu",
}
TRAINED = sorted(SPECS)
LEFT = [name for name in TRAINED if family(name.split()[0]).reads == "left"]
BOTH = [name for name in TRAINED if family(name.split()[0]).reads == "both"]


def test_every_registered_model_is_tested():
    others = {"source", "kenlm", "pretrained"}  # test_source.py, test_kenlm.py, test_pretrained.py
    assert {name.split()[0] for name in SPECS} | others == set(MODELS)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    random = np.random.default_rng(7)

    def text(lines: int) -> tuple[str]:
        return ("\n".join(" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(lines)),)

    return Corpus("made", Split("train", text(300)), Split("valid", text(40)), Split("test", text(40)))


@pytest.fixture(scope="module")
def models(corpus: Corpus) -> dict[str, Trainable]:
    tokens = corpus.tokenize("word")
    fitted = {}
    for name, spec in SPECS.items():
        fitted[name] = create(spec)
        fitted[name].fit(tokens.train, tokens.valid, Budget(steps=30))
    return fitted


@pytest.fixture
def rows(corpus: Corpus, models: dict[str, Trainable]) -> list[np.ndarray]:
    return [row.astype(np.int64) for row in models["uniform"].tokenizer.encode(corpus.test.units).rows()]


@pytest.mark.parametrize("name", TRAINED)
def test_it_is_a_language_model(models, name):
    model = models[name]
    assert isinstance(model, LanguageModel)
    assert isinstance(model, Trainable)
    assert model.kind == name.split()[0]
    assert model.parameters >= 0


@pytest.mark.parametrize("name", TRAINED)
def test_log_probs_are_negative_where_asked_and_zero_elsewhere(models, name, rows):
    random = np.random.default_rng(1)
    batch = Batch.of(rows[:9], [random.random(len(row)) < 0.5 for row in rows[:9]])
    values = models[name].log_probs(batch)
    assert values.shape == batch.ids.shape
    assert np.issubdtype(values.dtype, np.floating)
    assert (values[~batch.targets] == 0).all()
    assert (values[batch.targets] < 0).all()
    everything = models[name].log_probs(Batch.of(rows[:9]))
    np.testing.assert_allclose(values[batch.targets], everything[batch.targets], atol=1e-5)


@pytest.mark.parametrize("name", LEFT)
def test_next_log_probs_sum_to_one_and_agree_with_log_probs(models, name, rows):
    model = models[name]
    for row in rows[:6]:
        prefixes = [row[:length] for length in range(1, len(row))]
        following = model.next_log_probs(Batch.of_prefixes(prefixes))
        assert following.shape == (len(prefixes), len(model.tokenizer.vocabulary))
        np.testing.assert_allclose(np.exp(following.astype(np.float64)).sum(1), 1, atol=1e-5)
        picked = following[np.arange(len(prefixes)), row[1:]]
        np.testing.assert_allclose(model.log_probs(Batch.of([row]))[0, 1:], picked, atol=1e-5)


@pytest.mark.parametrize("name", LEFT)
def test_the_distributions_of_a_stream_are_those_after_each_prefix(models, name, rows):
    stream = np.concatenate([rows[0], *(row[1:] for row in rows[1:6])])
    asked = np.arange(len(stream)) % 3 == 1
    found = np.concatenate(list(distributions(models[name], Batch.of([stream, stream[:7]], [asked, asked[:7]]))))
    prefixes = [stream[:column] for column in (*np.flatnonzero(asked), *np.flatnonzero(asked[:7]))]
    np.testing.assert_allclose(found, models[name].next_log_probs(Batch.of_prefixes(prefixes)), atol=1e-5)


@pytest.mark.parametrize("name", TRAINED)
def test_a_batch_equals_single_rows_whatever_the_order_and_padding(models, name, rows):
    model = models[name]
    together = model.log_probs(Batch.of(rows))
    backwards = model.log_probs(Batch.of(rows[::-1]))[::-1]
    for row, values, others in zip(rows, together, backwards, strict=True):
        alone = model.log_probs(Batch.of([row]))[0]
        np.testing.assert_allclose(values[: len(row)], alone, atol=1e-5)
        np.testing.assert_allclose(others[: len(row)], alone, atol=1e-5)


@pytest.mark.parametrize("name", LEFT)
def test_the_future_is_not_read(models, name, rows):
    model = models[name]
    row = max(rows, key=len)
    for cut in range(2, len(row)):
        changed = row.copy()
        changed[cut:] = 3
        before, after = (model.log_probs(Batch.of([r]))[0, :cut] for r in (row, changed))
        np.testing.assert_allclose(before, after, atol=1e-6)


@pytest.mark.parametrize("name", BOTH)
def test_both_sides_are_read_but_not_the_token_itself(models, name, rows):
    model = models[name]
    row = max(rows, key=len)
    types = range(1, len(model.tokenizer.vocabulary))  # not the boundary, which would make two sentences of it
    for column in range(1, len(row) - 1):
        copies = [np.concatenate((row[:column], [token], row[column + 1 :])) for token in types]
        values = model.log_probs(Batch.of(copies))  # (V - 1, T)
        # One distribution gives the types their shares; were the token read, each could be given more.
        assert 0.5 < np.exp(values[:, column]).sum() <= 1 + 1e-5
        others = np.delete(values[:, 1:], column - 1, axis=1)
        assert (np.ptp(others, axis=0) > 0).all(), "every other token sees it, to its left and to its right"


@pytest.mark.parametrize("name", BOTH)
def test_what_reads_both_sides_has_no_next_token_and_no_perplexity(models, corpus, name):
    with pytest.raises(ModelError, match="both sides"):
        models[name].next_log_probs(Batch.of_prefixes([np.array([0, 2])]))
    scores = score(models[name], corpus)
    assert perplexity(scores) is None
    assert pseudo_perplexity(scores) > 1


@pytest.mark.parametrize("name", TRAINED)
def test_saved_and_loaded_it_gives_the_same_numbers(models, name, rows, tmp_path):
    model = models[name]
    model.save(tmp_path / name)
    again = load(tmp_path / name)
    assert again.tokenizer.vocabulary == model.tokenizer.vocabulary
    np.testing.assert_array_equal(again.log_probs(Batch.of(rows)), model.log_probs(Batch.of(rows)))
    assert again.parameters == model.parameters


@pytest.mark.parametrize("name", TRAINED)
def test_the_same_seed_gives_the_same_model(models, corpus, name, rows):
    tokens = corpus.tokenize("word")
    again = create(SPECS[name])
    again.fit(tokens.train, tokens.valid, Budget(steps=30))
    np.testing.assert_array_equal(again.log_probs(Batch.of(rows)), models[name].log_probs(Batch.of(rows)))


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("context", ["sentence", "stream"])
def test_every_event_is_scored_once_whatever_the_policy_and_batch_size(models, corpus, name, context):
    model = models[name]
    scores = [score(model, corpus, context=context, batch_size=size) for size in (1, 64, None)]
    events = sum(len(unit.split()) + 1 for unit in corpus.test.units)
    for result in scores:
        assert result.events.sum() == events
        np.testing.assert_allclose(result.token_nats, scores[0].token_nats, atol=2e-5)


@pytest.mark.parametrize("name", ["ffnn", "cnn", "lstm", "gpt"])
def test_a_row_longer_than_any_window_is_scored_whole(models, name):
    random = np.random.default_rng(3)
    row = np.concatenate(([0], random.integers(1, 8, 1500), [0]))
    values = models[name].log_probs(Batch.of([row]))[0]
    assert (values[1:] < 0).all()
    # whatever the windows, the first ones see the very beginning
    np.testing.assert_allclose(values[:16], models[name].log_probs(Batch.of([row[:16]]))[0], atol=1e-5)


@pytest.mark.parametrize("window", [7, 16])
def test_beyond_its_window_gpt_still_agrees_with_itself(corpus, window):
    tokens = corpus.tokenize("word")
    model = create(f"gpt:width=16:heads=2:layers=1:sequence_length={window}:batch_size=4:device=cpu")
    model.fit(tokens.train, tokens.valid, Budget(steps=5))
    row = np.concatenate(([0], np.random.default_rng(3).integers(1, 8, 3 * window), [0]))
    values = model.log_probs(Batch.of([row]))[0, 1:]
    following = model.next_log_probs(Batch.of_prefixes([row[:length] for length in range(1, len(row))]))
    np.testing.assert_allclose(values, following[np.arange(len(row) - 1), row[1:]], atol=1e-5)
    np.testing.assert_allclose(model.log_probs(Batch.of([row[:9], row]))[1, 1:], values, atol=1e-5)


@pytest.mark.parametrize("name", LEFT)
def test_a_reading_goes_on_to_the_same_numbers(models, name):
    model, random = models[name], np.random.default_rng(5)
    rows = np.concatenate((np.zeros((3, 1), np.int64), random.integers(0, len(WORDS), (3, 24))), 1)  # past the windows
    reading = open_reading(model, list(rows[:, :2]))
    for length in range(2, rows.shape[1]):
        if length == 4:
            rows = rows[[2, 0, 2, 1]]
            reading.keep(np.array([2, 0, 2, 1]))
        expected = model.next_log_probs(Batch.of_prefixes(list(rows[:, :length])))
        np.testing.assert_allclose(reading.log_probs, expected, atol=1e-5)
        reading.append(rows[:, length])


def test_a_uniform_model_has_perplexity_exactly_v(models, corpus):
    result = score(models["uniform"], corpus)
    assert np.exp(result.nats.sum() / result.events.sum()) == pytest.approx(
        len(models["uniform"].tokenizer.vocabulary), rel=1e-12
    )


@pytest.mark.parametrize("name", ["ngram", "ffnn", "cnn", "lstm", "gpt"])
def test_learning_beats_guessing(models, corpus, name):
    nats = {n: score(models[n], corpus).nats.sum() for n in (name, "uniform")}
    assert nats[name] < nats["uniform"]
