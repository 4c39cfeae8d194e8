"""What is BERT's own: hiding, seeing both sides of one sentence, and what it refuses."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split
from lmbench.corpus.words import word_openings
from lmbench.errors import LmbenchError, ModelError, UsageError
from lmbench.models.masking import spread
from lmbench.models.registry import create, load
from lmbench.scoring import metrics
from lmbench.scoring.scorer import score
from lmbench.tasks.generation import generate
from lmbench.tasks.prediction import next_words
from lmbench.tasks.ranking import rank
from lmbench.training.budget import Budget, Silent
from lmbench.training.checkpoints import Checkpoints

SPEC = "bert:width=32:heads=2:layers=2:sequence_length=24:batch_size=16:device=cpu:precision=float32:dropout=0"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """The first word is drawn, then comes "of", and the third tells the first: only who sees the right can know it."""
    random = np.random.default_rng(5)
    pairs = [("red", "roses"), ("green", "grass"), ("blue", "skies"), ("white", "snow")]

    def text(lines: int) -> tuple[str]:
        return ("\n".join(" of ".join(pairs[i]) for i in random.integers(0, 4, lines)),)

    return Corpus("pairs", Split("train", text(400)), Split("valid", text(40)), Split("test", text(40)))


@pytest.fixture(scope="module")
def model(corpus):
    tokens = corpus.tokenize("word")
    model = create(SPEC)
    model.fit(tokens.train, tokens.valid, Budget(steps=120))
    return model


def test_it_learns_from_both_sides(model, corpus):
    scores = score(model, corpus)
    # Each of the four tokens of a line is told by the others; a model that reads to the left needs ln 4 for the first.
    assert metrics.nats_per_event(scores) < 0.1
    assert metrics.perplexity(scores) is None
    assert metrics.bits_per_character(scores) is None
    assert metrics.pseudo_perplexity(scores) == pytest.approx(np.exp(scores.nats.sum() / scores.events.sum()))


def test_candidates_are_ranked_by_pseudo_log_likelihood(model):
    ranking = rank(model, ["red of snow", "red of roses", "blue of roses"])
    assert ranking.ordered(0)[0].text == "red of roses"


def test_a_score_is_that_of_one_hidden_token_at_a_time(model, corpus):
    row = model.tokenizer.encode(corpus.test.units[:1]).ids.astype(np.int64)
    values = model.log_probs(Batch.of([row]))[0]
    hidden_id = len(model.tokenizer.vocabulary)
    for column in range(1, len(row)):
        ids = torch.from_numpy(row.copy())[None]
        ids[0, column] = hidden_id
        with torch.inference_mode():
            states, _ = model.network.eval()(ids)
            distribution = model.network.log_softmax(states[0, column : column + 1])[0]
        assert torch.exp(distribution).sum() == pytest.approx(1, abs=1e-5)
        assert values[column] == pytest.approx(float(distribution[row[column]]), abs=1e-5)


def test_sentences_of_a_training_row_do_not_see_each_other(model):
    spaced = spread(torch.tensor([[0, 3, 2, 4, 0, 5, 2, 6, 0, 3]]))
    with torch.inference_mode():
        together, _ = model.network.eval()(spaced.ids, spaced.sentence[:, :, None] == spaced.sentence[:, None, :])
        for number in range(3):
            chosen = spaced.sentence[0] == number
            alone, _ = model.network(spaced.ids[:, chosen])
            torch.testing.assert_close(together[:, chosen], alone, rtol=1e-4, atol=1e-5)
    model.network.train()  # attention is computed in another way where a gradient is needed
    learning, _ = model.network(spaced.ids, spaced.sentence[:, :, None] == spaced.sentence[:, None, :])
    torch.testing.assert_close(learning.detach(), together, rtol=1e-4, atol=1e-5)


def test_sentences_joined_in_a_row_are_scored_as_if_alone(model, corpus):
    rows = [row.astype(np.int64) for row in model.tokenizer.encode(corpus.test.units[:6]).rows()]
    joined = np.concatenate([rows[0], *(row[1:] for row in rows[1:])])
    alone = np.concatenate([model.log_probs(Batch.of([row]))[0, 1:] for row in rows])
    np.testing.assert_allclose(model.log_probs(Batch.of([joined]))[0, 1:], alone, atol=1e-5)


def test_a_sentence_longer_than_the_window_is_scored_whole(model):
    row = np.concatenate(([0], np.random.default_rng(3).integers(1, 8, 300), [0]))
    values = model.log_probs(Batch.of([row]))[0]
    assert (values[1:] < 0).all()
    changed = row.copy()
    changed[150] = 1 + changed[150] % 7
    moved = np.flatnonzero(np.abs(model.log_probs(Batch.of([changed]))[0] - values) > 1e-6)
    assert moved.min() >= 150 - 12  # a window of 24 around each token
    assert moved.max() <= 150 + 12


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe:size=270"])
@pytest.mark.parametrize("within_word", ["yes", "no"])
def test_the_rest_of_a_word_is_not_read(corpus, tokenizer, within_word):
    tokens = corpus.tokenize(tokenizer)
    model = create(f"{SPEC}:within_word={within_word}")
    model.fit(tokens.train, tokens.valid, Budget(steps=3))
    opens = word_openings(model.tokenizer)
    row = tokens.test.ids[: tokens.test.ends[4] + 1].astype(np.int64)
    column = int(np.flatnonzero(~opens[row[1:]])[2]) + 1  # goes on with a word
    changed = row.copy()
    changed[column] = next(i for i in np.flatnonzero(~opens) if i != row[column])
    before, after = (model.log_probs(Batch.of([ids]))[0] for ids in (row, changed))
    assert (before[column - 1] == pytest.approx(after[column - 1], abs=1e-6)) == (within_word == "yes")
    assert before[column + 1] != pytest.approx(after[column + 1], abs=1e-6)  # the left of the word is read


def test_what_it_has_no_answer_to_is_refused(model):
    with pytest.raises(ModelError, match="both sides"):
        model.next_log_probs(Batch.of_prefixes([np.array([0])]))
    with pytest.raises(ModelError, match="both sides"):
        generate(model, 1)
    with pytest.raises(ModelError, match="both sides"):
        next_words(model, "red")
    with pytest.raises(LmbenchError, match="both sides"):
        create(f"{SPEC}+ngram")


def test_settings_that_cannot_be_are_named():
    for masked in (0, 1):
        with pytest.raises(UsageError, match="masked"):
            create(f"bert:masked={masked}")


def test_a_kept_model_hides_words_as_before(corpus, tmp_path):
    tokens = corpus.tokenize("char")
    model = create(SPEC)
    model.fit(tokens.train, tokens.valid, Budget(steps=2))
    model.save(tmp_path)
    batch = Batch.of(tokens.test.rows()[:5])
    np.testing.assert_array_equal(load(tmp_path).log_probs(batch), model.log_probs(batch))


class Cut(Silent):
    """An interruption after some steps, once."""

    def update(self, fraction, **figures):
        if figures["step"] >= 20:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_training_hides_the_same_tokens_when_it_goes_on(corpus, tmp_path):
    tokens = corpus.tokenize("word")
    whole, cut, rest = (create(SPEC) for _ in range(3))
    whole.fit(tokens.train, tokens.valid, Budget(steps=40))
    with pytest.raises(KeyboardInterrupt):
        cut.fit(tokens.train, tokens.valid, Budget(steps=40), Cut(), Checkpoints(tmp_path))
    torch.manual_seed(99)
    rest.fit(tokens.train, tokens.valid, Budget(steps=40), None, Checkpoints(tmp_path))
    batch = Batch.of(tokens.test.rows())
    np.testing.assert_array_equal(rest.log_probs(batch), whole.log_probs(batch))
