"""What is the feed-forward network's own: its equation, and what stands in its window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lmbench.corpus.text import Corpus, Split
from lmbench.errors import UsageError
from lmbench.models.feedforward import FeedForwardNetwork
from lmbench.models.registry import create, load
from lmbench.training.budget import Budget


def network(**settings) -> FeedForwardNetwork:
    torch.manual_seed(1)
    return FeedForwardNetwork(7, context=3, width=4, hidden=5, **{"layers": 1, **settings}).eval()


def scaled(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt((vector**2).mean() + np.finfo(np.float32).eps)


def weights(net: FeedForwardNetwork) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in net.named_parameters()}


def history(embedding: np.ndarray, *words: int) -> np.ndarray:
    return np.concatenate([scaled(embedding[word]) for word in words[::-1]])  # the last word first


@pytest.mark.parametrize("direct", [False, True])
def test_it_is_the_equation_of_the_paper(direct):
    net = network(tied=False, direct=direct)
    w = weights(net)
    assert w["output"].shape == (7, 5 + 12 * direct)  # U, and D for three embeddings of four
    c = history(w["embedding.weight"], 2, 6, 4)
    x = np.tanh(w["widen.weight"] @ c + w["widen.bias"])
    logits = w["output"][:, :5] @ x + w["bias"]
    if direct:
        logits += w["output"][:, 5:] @ c
    expected = logits - np.log(np.exp(logits).sum())
    hidden, _ = net(torch.tensor([[2, 6, 4]]))
    ours = net.log_softmax(hidden[:, -1])[0].detach().numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_words_that_are_read_often_are_dropped_more():
    usual = create("ffnn").usual
    assert [usual(False, 64, passes)["dropout"] for passes in (1, 2, 3.9, 4, 40)] == [0, 0.1, 0.1, 0.3, 0.3]
    assert [usual(True, 64, passes)["dropout"] for passes in (1, 3.9, 4, 40)] == [0, 0, 0.1, 0.4]  # characters


@pytest.mark.parametrize("direct", [False, True])
def test_tied_the_embedding_is_the_softmax_matrix(direct):
    net = network(direct=direct)
    w = weights(net)
    c = history(w["embedding.weight"], 2, 6, 4)
    x = w["narrow.weight"] @ np.tanh(w["widen.weight"] @ c + w["widen.bias"])
    if direct:
        x += w["direct.weight"] @ c
    logits = w["embedding.weight"] @ x + w["bias"]
    hidden, _ = net(torch.tensor([[2, 6, 4]]))
    ours = net.log_softmax(hidden[:, -1])[0].detach().numpy()
    np.testing.assert_allclose(ours, logits - np.log(np.exp(logits).sum()), atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"layers": 3}, {"layers": 3, "tied": False}])
def test_the_window_is_exactly_its_context_and_opens_with_boundaries(settings):
    net = network(**settings)
    row = torch.tensor([[0, 5, 2, 6, 4, 1]])
    whole, state = net(row)
    assert state.tolist() == [[4, 1]]
    for last in range(6):  # three ids before each word, boundaries (0) where the row has not begun
        window = torch.cat((torch.zeros(1, 3, dtype=torch.int64), row), 1)[:, last + 1 : last + 4]
        torch.testing.assert_close(net(window)[0][:, -1], whole[:, last], rtol=1e-5, atol=1e-6)
    farther = row.clone()
    farther[0, 2] = 3
    changed = (net(farther)[0] - whole).abs().amax(2)[0] > 1e-6
    assert changed.tolist() == [False, False, True, True, True, False]


def test_nothing_is_read_across_a_boundary():
    net = network(layers=2)
    whole, _ = net(torch.tensor([[0, 5, 2, 0, 4, 1, 6]]))
    alone, _ = net(torch.tensor([[0, 4, 1, 6]]))
    torch.testing.assert_close(whole[:, 3:], alone)


def test_the_state_joins_pieces_of_a_row():
    net = network(layers=2)
    row = torch.randint(7, (2, 11), generator=torch.Generator().manual_seed(1))
    whole, _ = net(row)
    state, pieces = None, []
    for piece in row.split([1, 2, 5, 3], 1):  # shorter than the window, and longer
        part, state = net(piece, state)
        pieces.append(part)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)


def test_a_deterministic_text_is_learnt_from_its_trigrams(tmp_path):
    text = ("a b a c\n" * 200,)  # "a" is followed by b or by c: the word before it tells by which
    data = Corpus("made", *(Split(part, text) for part in ("train", "valid", "test"))).tokenize("word")
    model = create("ffnn:order=4:width=16:learning_rate=0.02:dropout=0:device=cpu:tied=no")
    report = model.fit(data.train, data.valid, Budget(steps=60))
    assert report.valid_loss < 0.05
    assert model.max_context == 3
    assert model.config.hidden == 32
    model.save(tmp_path)
    again = load(tmp_path)
    assert again.config.tied is False
    assert again.parameters == model.parameters


def test_the_order_is_that_of_words_or_characters():
    text = ("the old cat sees the dog\n" * 50,)
    corpus = Corpus("made", *(Split(part, text) for part in ("train", "valid", "test")))
    contexts = {}
    for tokenizer in ("word", "char"):
        data = corpus.tokenize(tokenizer)
        model = create("ffnn:width=8:device=cpu")
        model.fit(data.train, data.valid, Budget(steps=1))
        contexts[tokenizer] = model.max_context
    assert contexts == {"word": 7, "char": 11}


@pytest.mark.parametrize("order", [0, 1])
def test_without_history_it_says_what_to_take_instead(order):
    with pytest.raises(UsageError, match=r"order must be at least 2.*ngram:order=1"):
        create(f"ffnn:order={order}")
