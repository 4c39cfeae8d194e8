"""The neural cache: worked out by hand, in blocks as token by token, and what it gains."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split, TokenizedCorpus
from lmbench.errors import UsageError
from lmbench.models import neural_cache, registry
from lmbench.models.neural_cache import NeuralCache, NeuralCacheConfig, _Memory
from lmbench.scoring.scorer import score
from lmbench.training.budget import Budget

TINY = "lstm:hidden=8:batch_size=4:sequence_length=8:device=cpu"


@pytest.fixture(scope="module")
def data() -> TokenizedCorpus:
    random = np.random.default_rng(3)

    def text(lines: int) -> tuple[str]:  # a line is said three times in a row: what was seen comes again
        words = [f"w{number}" for number in range(30)]
        return ("\n".join("\n".join([" ".join(random.choice(words, 5))] * 3) for _ in range(lines)),)

    return Corpus("made", Split("train", text(80)), Split("valid", text(40)), Split("test", text(40))).tokenize("word")


@pytest.fixture(scope="module")
def model(data: TokenizedCorpus) -> NeuralCache:
    model = registry.create(f"neural-cache({TINY}):size=40")
    model.fit(data.train, data.valid, Budget(steps=40))
    assert isinstance(model, NeuralCache)
    return model


def test_the_shares_are_those_of_the_equation() -> None:
    # States 1, 0, 1 of one number were followed by words 5, 6, 6; theta = ln 2, now the state is 1:
    # shares 2^1, 2^0, 2^1 of 5, so p(5) = 2/5 and p(6) = 3/5. With size 2 the first is forgotten: p(6) = 1.
    states, followers = torch.tensor([[1.0], [0.0], [1.0], [1.0]]), torch.tensor([5, 6, 6, 5])
    memory = _Memory(3, float(np.log(2)))
    memory.add(states[:3], followers[:3])
    distribution = memory.distribution(states[3], 8)
    assert distribution is not None
    np.testing.assert_allclose(distribution.numpy(), [0, 0, 0, 0, 0, 0.4, 0.6, 0], atol=1e-6)
    # Event 0 has nothing to remember; 1 sees (1, 5) and asks for 6: 0; 2 sees 5 (2^1), 6 (2^0): p(6) = 1/3.
    recalled = _Memory(3, float(np.log(2))).recall(states, followers)
    np.testing.assert_allclose(recalled.exp().numpy(), [0, 0, 1 / 3, 2 / 5], atol=1e-6)
    assert _Memory(2, 1.0).recall(states, followers)[3] == -torch.inf


def test_blocks_change_nothing(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(1)
    states, followers = torch.randn(50, 4, generator=generator), torch.randint(0, 5, (50,), generator=generator)
    whole = _Memory(11, 0.5).recall(states, followers)
    for block in (1, 7, 16):
        monkeypatch.setattr(neural_cache, "BLOCK", block)
        memory = _Memory(11, 0.5)
        pieces = [memory.recall(*piece) for piece in zip(states.split(13), followers.split(13), strict=True)]
        torch.testing.assert_close(torch.cat(pieces), whole)


def test_it_gains_where_words_come_again(model: NeuralCache, data: TokenizedCorpus) -> None:
    static, adapted = score(model.base, data.corpus), score(model, data.corpus)
    assert adapted.token_nats.mean() < static.token_nats.mean() - 0.1
    assert 0 < model.config.weight < 1
    assert (adapted.adapts, static.adapts) == (True, False)


def test_it_is_the_mixture_that_it_says(model: NeuralCache, data: TokenizedCorpus) -> None:
    row = data.test.ids[:50].astype(np.int64)
    (_, columns, hidden, followers, network), *more = model._read(Batch.of([row]))
    assert (columns, more) == (slice(1, 50), [])
    scores = model.config.theta * (hidden @ hidden.t()).numpy().astype(np.float64)
    expected = network.numpy().astype(np.float64).copy()
    for t in range(1, 49):
        seen = np.arange(max(0, t - 40), t)
        shares = np.exp(scores[t, seen])
        cache = shares[followers.numpy()[seen] == row[t + 1]].sum() / shares.sum()
        expected[t] = np.log((1 - model.config.weight) * np.exp(expected[t]) + model.config.weight * cache)
    np.testing.assert_allclose(model.log_probs(Batch.of([row]))[0, 1:], expected, atol=1e-4)


def test_settings_that_are_given_are_kept(data: TokenizedCorpus) -> None:
    model = registry.create(f"neural-cache({TINY}):theta=0.25:weight=0")
    model.fit(data.train, data.valid, Budget(steps=2))
    assert model.config == NeuralCacheConfig(theta=0.25, weight=0.0)
    np.testing.assert_allclose(score(model, data.corpus).nats, score(model.parts[0], data.corpus).nats, atol=1e-4)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"theta": -1.0}, {"weight": 1.0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        NeuralCacheConfig(**wrong)
