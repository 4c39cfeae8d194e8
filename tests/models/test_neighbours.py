"""Neighbours in the training text: worked out by hand, in blocks as at once, and what they gain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split, TokenizedCorpus
from lmbench.errors import ModelError, TrainingError, UsageError
from lmbench.models import neighbours, registry
from lmbench.models.mixture import Mixture, MixtureConfig
from lmbench.models.neighbours import Neighbours, NeighboursConfig
from lmbench.scoring.scorer import score
from lmbench.training.budget import Budget
from lmbench.training.checkpoints import write_tensors

TINY = "lstm:hidden=8:batch_size=4:sequence_length=8:device=cpu"


@pytest.fixture(scope="module")
def data() -> TokenizedCorpus:
    random = np.random.default_rng(3)
    words = [f"w{number}" for number in range(30)]
    lines = [" ".join(random.choice(words, 5)) for _ in range(12)]

    def text(number: int) -> tuple[str]:  # the same few lines in any order: a trained network is in like states again
        return ("\n".join(random.choice(lines, number)),)

    return Corpus("made", Split("train", text(150)), Split("valid", text(40)), Split("test", text(40))).tokenize("word")


@pytest.fixture(scope="module")
def model(data: TokenizedCorpus) -> Neighbours:
    model = registry.create(f"neighbours({TINY})")
    model.fit(data.train, data.valid, Budget(steps=60))
    assert isinstance(model, Neighbours)
    return model


def holding(data: TokenizedCorpus, states: list[float], followers: list[int], **config: float) -> Neighbours:
    """A model whose kept states are these numbers."""
    model = registry.create(f"neighbours({TINY})")
    model.config, model.tokenizer = NeighboursConfig(**config), data.train.tokenizer  # type: ignore[arg-type]
    mean = torch.tensor([sum(states) / len(states)])
    model._take((torch.tensor(states)[:, None] - mean).half(), torch.tensor(followers), mean)
    return model


def test_the_shares_are_those_of_the_equation(data: TokenizedCorpus) -> None:
    # States 0, 1 were followed by word 5, state 2 by word 6; their variance is 2/3. With a temperature of 1.5 / ln 2
    # each unit of squared distance halves a count: at 0 they count 1, 1/2, 1/16, so p(5) = 1.5 / 1.5625, p(6) = .04.
    model = holding(data, [0.0, 1.0, 2.0], [5, 5, 6], temperature=1.5 / float(np.log(2)), weight=0.25)
    shares = model._shares(torch.tensor([[0.0], [2.0]])).t()
    np.testing.assert_allclose(shares[:, 5:7], [[0.96, 0.04], [0.5625 / 1.5625, 1 / 1.5625]], atol=1e-5)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    network = torch.full((2, len(shares[0])), 1 / len(shares[0])).log()
    mixed = model._mixed(network, shares).exp()
    np.testing.assert_allclose(mixed[0, 5], 0.75 / len(shares[0]) + 0.25 * 0.96, atol=1e-5)


def test_where_nothing_is_near_the_network_is_asked(data: TokenizedCorpus) -> None:
    model = holding(data, [0.0, 1.0], [5, 6], temperature=1.0, weight=0.5)
    found = model._shares(torch.tensor([[0.5], [1000.0]])).t()
    assert found[0].sum() == pytest.approx(1)
    assert found[1].isnan().all()
    network = torch.randn(2, len(found[0])).log_softmax(1)
    torch.testing.assert_close(model._mixed(network, found)[1], network[1])


def test_blocks_change_nothing(model: Neighbours, data: TokenizedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Batch.of([data.test.ids[:40], data.test.ids[:7]])
    whole = model.log_probs(rows)
    for block, cells in ((1, 1), (7, 64), (16, 1 << 21)):
        monkeypatch.setattr(neighbours, "BLOCK", block)
        monkeypatch.setattr(neighbours, "CELLS", {"cpu": cells})
        np.testing.assert_allclose(model.log_probs(rows), whole, atol=1e-4)


@pytest.mark.parametrize(
    "base",
    [
        TINY,
        "gpt:width=16:heads=2:layers=1:sequence_length=8:batch_size=4:device=cpu",
        "ffnn:order=3:width=8:batch_size=4:sequence_length=8:device=cpu",
        f"{TINY}:softmax=adaptive",
    ],
)
def test_what_is_asked_here_and_there_of_long_rows(
    base: str, data: TokenizedCorpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = registry.create(f"neighbours({base}):temperature=0.3:weight=0.4")
    model.fit(data.train, data.valid, Budget(steps=10))
    monkeypatch.setattr(type(model.base), "chunk", 5)
    rows = [data.test.ids[:60], data.test.ids[60:90]]
    whole = model.log_probs(Batch.of(rows))
    asked = [np.isin(np.arange(60), [1, 31, 32]), np.isin(np.arange(30), [29])]
    some = Batch.of(rows, asked)
    np.testing.assert_allclose(model.log_probs(some), np.where(some.targets, whole, 0), atol=1e-5)
    found = np.concatenate(list(model.distributions(some)))
    np.testing.assert_allclose(found[np.arange(4), some.ids[some.targets]], whole[some.targets], atol=1e-5)
    following = model.next_log_probs(Batch.of_prefixes([rows[0][:31], rows[1][:29]]))
    np.testing.assert_allclose(following, found[[1, 3]], atol=1e-5)
    assert torch.is_grad_enabled()
    model.save(tmp_path)
    loaded = registry.load(tmp_path)
    assert (loaded.max_context, loaded.context) == (model.max_context, model.context)
    assert model.context == model.base.context
    np.testing.assert_allclose(loaded.log_probs(some), model.log_probs(some), atol=1e-5)


def test_a_power_mean_of_two_leaves_gradients_on(model: Neighbours, data: TokenizedCorpus) -> None:
    cached = registry.create(f"neural-cache({TINY}):size=10")
    cached.fit(data.train, data.valid, Budget(steps=2))
    mixture = Mixture(MixtureConfig(mean="power"), [model, cached, model])
    mixture.fit_weights(data.valid)
    score(mixture, data.corpus)
    assert torch.is_grad_enabled()


def test_long_texts_are_read_in_rows_side_by_side(
    model: Neighbours, data: TokenizedCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, followers, mean = model.states, model.followers, model.mean
    monkeypatch.setattr(neighbours, "LONG", 40)
    monkeypatch.setattr(neighbours, "ROWS", 7)
    model._keep(data.train.ids)
    split, others = model.states, model.followers
    split = split.float() + model.mean - mean
    model._take(states, followers, mean)
    torch.testing.assert_close(others, followers)
    unlike = (split - states).abs().amax(1) > 0.01  # those after a cut, which forget that they had no history
    assert 0 < unlike.sum() < 7 * 20


def test_memory_that_runs_out_names_the_size(data: TokenizedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Neighbours, "_keep", full)
    with pytest.raises(TrainingError, match=r"Keep fewer, those of its end: size=25\."):
        registry.create(f"neighbours({TINY}):size=50").fit(data.train, data.valid, Budget(steps=1))


def test_it_gains_where_lines_come_again_and_learns_nothing_from_them(model: Neighbours, data: TokenizedCorpus) -> None:
    alone, with_neighbours = score(model.base, data.corpus), score(model, data.corpus)
    assert with_neighbours.token_nats.mean() < alone.token_nats.mean() - 0.1
    assert not with_neighbours.adapts
    assert 0 < model.config.weight < 1


def test_it_is_the_mixture_that_it_says(model: Neighbours, data: TokenizedCorpus) -> None:
    kept = (model.states.float() + model.mean).numpy().astype(np.float64)
    variance = ((kept - kept.mean(0)) ** 2).sum(1).mean()
    assert model.variance == pytest.approx(variance, rel=1e-4)
    row = Batch.of([data.test.ids[:12]])
    (hidden, _, columns), *more = model.base.hidden_states(row)
    assert not more
    following = model.next_log_probs(Batch.of_prefixes([row.ids[0, :length] for length in range(1, 12)]))
    for state, column in zip(hidden.detach().numpy().astype(np.float64), columns.tolist(), strict=True):
        counted = np.exp(-((kept - state) ** 2).sum(1) / (model.config.temperature * variance))
        shares = np.bincount(model.followers.numpy(), counted, following.shape[1]) / counted.sum()
        network = model.base.next_log_probs(Batch.of_prefixes([row.ids[0, : column + 1]]))[0]
        expected = (1 - model.config.weight) * np.exp(network) + model.config.weight * shares
        np.testing.assert_allclose(np.exp(following[column]), expected, atol=1e-4)


def test_the_end_of_the_training_text_is_kept(data: TokenizedCorpus) -> None:
    model = registry.create(f"neighbours({TINY}):size=50:temperature=0.5:weight=0")
    model.fit(data.train, data.valid, Budget(steps=2))
    assert model.states.shape == (50, 8)
    assert model.followers.tolist() == sorted(data.train.ids[-50:])
    assert model.config == NeighboursConfig(size=50, temperature=0.5, weight=0.0)
    np.testing.assert_allclose(score(model, data.corpus).nats, score(model.parts[0], data.corpus).nats, atol=1e-4)


def test_neighbours_alone_may_find_words_impossible(data: TokenizedCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    # At 1e-5 nothing is near but what is the same, and the network alone answers; at 0.1 neighbours help it.
    monkeypatch.setattr(neighbours, "TEMPERATURES", (1e-5, 0.1))
    model = registry.create(f"neighbours({TINY}):size=50:weight=1")
    report = model.fit(data.train, data.valid, Budget(steps=2))
    assert report.valid_loss == np.inf
    assert model.config == NeighboursConfig(size=50, temperature=0.1, weight=1)  # as suits a mixture with the network
    expected = model.next_log_probs(Batch.of_prefixes([data.test.ids[:5]]))[0]
    assert set(np.flatnonzero(expected > -np.inf)) <= set(data.train.ids[-50:].tolist())


def test_damage_to_what_is_kept_is_told(model: Neighbours, tmp_path: Path) -> None:
    model.save(tmp_path)
    path = tmp_path / neighbours.STATES_FILE
    whole = path.read_bytes()
    sound = {"states": model.states, "followers": model.followers.int(), "mean": model.mean}
    unknown = {**sound, "followers": sound["followers"] + 1000}
    for damage in (
        lambda: path.write_bytes(whole[:-1]),
        lambda: path.write_bytes(whole.replace(b"followers", b"leaders!!")),
        lambda: write_tensors(path, unknown),
        lambda: write_tensors(path, {**sound, "states": model.states[1:]}),
        lambda: write_tensors(path, {**sound, "states": model.states.float()}),
        path.unlink,
    ):
        damage()
        with pytest.raises(ModelError, match=r"states\.safetensors cannot be read"):
            registry.load(tmp_path)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"temperature": 0.0}, {"weight": 1.1}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        NeighboursConfig(**wrong)  # type: ignore[arg-type]
