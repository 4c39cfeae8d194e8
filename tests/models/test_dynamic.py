"""Dynamic evaluation: a step by hand, no step at all, what it gains, and that nothing is left behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split, TokenizedCorpus
from lmbench.errors import ModelError, UsageError
from lmbench.models import registry
from lmbench.models.dynamic import EPSILON, Dynamic, DynamicConfig, _segments
from lmbench.scoring.scorer import score
from lmbench.training.budget import Budget

LSTM = "lstm:hidden=16:batch_size=4:sequence_length=8:device=cpu"
GPT = "gpt:width=16:heads=2:layers=1:sequence_length=8:batch_size=4:device=cpu"


@pytest.fixture(scope="module")
def data() -> TokenizedCorpus:
    random = np.random.default_rng(3)

    def text(first: int, lines: int) -> tuple[str]:  # of the words of training, the rest of the text says few
        words = [f"w{number}" for number in range(first, 20)]
        return ("\n".join(" ".join(random.choice(words, 5)) for _ in range(lines)),)

    return Corpus(
        "made", Split("train", text(0, 200)), Split("valid", text(12, 80)), Split("test", text(12, 80))
    ).tokenize("word")


def fitted(data: TokenizedCorpus, spec: str) -> Dynamic:
    model = registry.create(spec)
    model.fit(data.train, data.valid, Budget(steps=20))
    assert isinstance(model, Dynamic)
    return model


@pytest.fixture(scope="module")
def model(data: TokenizedCorpus) -> Dynamic:
    return fitted(data, f"dynamic({LSTM}):segment=5")


def test_steps_are_those_of_the_equation(model: Dynamic, data: TokenizedCorpus, monkeypatch) -> None:
    rate, decay = 0.05, 0.5
    monkeypatch.setattr(model, "config", DynamicConfig(segment=5, rate=rate, decay=decay))
    row = data.test.ids[:16].astype(np.int64)  # three segments of 5: two steps, which serve the second and the third
    network, ids, state, expected = model.network, torch.from_numpy(row)[None], None, []
    weights = dict(network.named_parameters())
    trained = {name: weight.detach().clone() for name, weight in weights.items()}
    mean = torch.cat([size.flatten() for size in model.statistics.values()]).mean()
    for first in (0, 5, 10):
        hidden, state = network(ids[:, first : first + 5], state)
        log_probs = network.log_softmax(hidden[0]).gather(1, ids[0, first + 1 : first + 6, None])[:, 0]
        expected.append(log_probs.detach())
        state, gradients = state.detach(), torch.autograd.grad(-log_probs.mean(), list(weights.values()))
        with torch.no_grad():
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                size = model.statistics[name]
                back = decay * (size / mean).clamp(max=1 / decay) * (trained[name] - weight)
                weight += back - rate * gradient / (size + EPSILON * mean)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(trained[name])
    values = model.log_probs(Batch.of([row]))[0, 1:]
    np.testing.assert_allclose(values, torch.cat(expected).numpy(), atol=1e-5)
    static = model.base.log_probs(Batch.of([row]))[0, 1:]
    np.testing.assert_allclose(values[:5], static[:5], atol=1e-6)
    assert np.abs(values - static)[5:].min() > 1e-4


def test_gradients_are_measured_of_the_loss_that_steps_lower(
    model: Dynamic, data: TokenizedCorpus, monkeypatch
) -> None:
    before = model.statistics
    monkeypatch.setattr(model, "statistics", {})
    monkeypatch.setattr(model.network, "label_smoothing", 0.3)  # as in its training
    model._measure(data.train)
    assert model.network.label_smoothing == 0.3
    for name, size in model.statistics.items():
        assert torch.equal(size, before[name])


@pytest.mark.parametrize("rule", ["rms", "sgd"])
@pytest.mark.parametrize("base", [LSTM, GPT])
def test_it_gains_where_the_text_is_another(data: TokenizedCorpus, base: str, rule: str) -> None:
    model = fitted(data, f"dynamic({base}):segment=5:rule={rule}")
    static, adapted = score(model.base, data.corpus), score(model, data.corpus)
    assert adapted.token_nats.mean() < static.token_nats.mean() - 0.02
    assert (adapted.adapts, static.adapts) == (True, False)


def test_the_weights_are_as_trained_afterwards(model: Dynamic, data: TokenizedCorpus) -> None:
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    rows = [data.test.ids[:40].astype(np.int64), data.test.ids[40:43].astype(np.int64)]
    model.log_probs(Batch.of(rows))
    model.next_log_probs(Batch.of_prefixes(rows))
    states = model.hidden_states(Batch.of(rows[:1]))
    next(states), next(states)
    states.close()  # whoever reads no further
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(module.training for module in model.network.modules())


@pytest.mark.parametrize(
    "base", [LSTM, GPT, "cnn:width=16:layers=2:kernel=2:batch_size=4:sequence_length=8:device=cpu"]
)
def test_without_a_rate_it_is_the_network_itself(data: TokenizedCorpus, base: str) -> None:
    model = fitted(data, f"dynamic({base}):segment=3:rate=0:decay=0")
    rows = [data.test.ids[:length].astype(np.int64) for length in (3, 9, 50)]
    static = model.base.log_probs(Batch.of(rows))
    np.testing.assert_allclose(model.log_probs(Batch.of(rows)), static, atol=1e-5)
    model.config = DynamicConfig(segment=3, rate=1e-12, decay=0.0)  # takes its steps, which lead nowhere
    np.testing.assert_allclose(model.log_probs(Batch.of(rows)), static, atol=1e-5)


def test_segments_of_windows_lie_where_windows_do(data: TokenizedCorpus) -> None:
    network = fitted(data, f"dynamic({GPT}):rate=0:decay=0").network  # window 8: 0-7, then 4 more each time
    assert list(_segments(network, 13, 3)) == [
        (0, 0, 3), (0, 3, 6), (0, 6, 8), (4, 8, 11), (4, 11, 12), (8, 12, 13),
    ]  # fmt: skip
    assert list(_segments(network, 7, 20)) == [(0, 0, 7)]


@pytest.mark.parametrize("base", [LSTM, GPT])
def test_what_follows_agrees_with_what_is_scored(data: TokenizedCorpus, base: str) -> None:
    model = fitted(data, f"dynamic({base}):segment=3:rate=0.01:decay=0.01")
    row = data.test.ids[:30].astype(np.int64)
    following = model.next_log_probs(Batch.of_prefixes([row[:length] for length in range(1, 30)]))
    np.testing.assert_allclose(np.exp(following.astype(np.float64)).sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(following[np.arange(29), row[1:]], model.log_probs(Batch.of([row]))[0, 1:], atol=1e-5)


def test_statistics_that_are_gone_are_told(model: Dynamic, tmp_path) -> None:
    model.save(tmp_path)
    (tmp_path / "gradients.safetensors").unlink()
    with pytest.raises(ModelError, match=r"gradients.safetensors is missing"):
        registry.load(tmp_path)


@pytest.mark.parametrize("wrong", [{"segment": 0}, {"rate": -0.1}, {"decay": 1.5}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        DynamicConfig(**wrong)
