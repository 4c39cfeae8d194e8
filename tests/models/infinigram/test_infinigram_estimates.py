"""The tree, the discounts and the probabilities, against arithmetic by hand and the definition spelt out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.models.infinigram.smoothing import (
    DEPTHS,
    REACHES,
    START_NODE,
    TYPES,
    Discounts,
    _loss,
    _paths,
    leaf_row,
    learn_discounts,
    shares,
)
from lmbench.models.infinigram.table import Table, estimate, history_lengths
from lmbench.models.infinigram.tree import UNLIMITED, context_tree

THE, A, CAT, SAT = 1, 2, 3, 4
SENTENCES = np.array([0, THE, CAT, SAT, 0, A, CAT, SAT, 0], np.int32)


def row_starts(ids: np.ndarray) -> np.ndarray:
    return np.arange(len(ids)) == 0


def fitted(ids: np.ndarray, size: int, discounts: Discounts, longest: int = UNLIMITED) -> Table:
    tree = context_tree(ids, size, longest)
    return estimate(tree, shares(tree), discounts, size, longest)


def any_discounts(seed: int) -> Discounts:
    random = np.random.default_rng(seed)
    node = random.uniform(0.05, [1, 2, 3], (DEPTHS * TYPES, 3))
    return Discounts(node, random.uniform(0.05, 1, DEPTHS * REACHES))


def test_by_hand():
    # Seen before: the </s>; a </s>; cat the, a; sat cat; </s> sat. So the root counts 1 1 2 1 1, which is 6 in all.
    table = fitted(SENTENCES, 5, Discounts.start())
    # Discounts .8 of a count of 1, 1.2 of 2: b = (4 * .8 + 1.2) / 6 = .7333, a fifth of which goes to each of 5 words.
    unigrams = np.full(5, 0.2 / 6 + 4.4 / 30)  # .18
    unigrams[CAT] = 0.8 / 6 + 4.4 / 30  # .28
    assert unigrams.sum() == pytest.approx(1)
    # "cat": sat after "the cat" and after "a cat", so count 2 of 2. b = 1.2 / 2
    after_cat = 0.6 * unigrams
    after_cat[SAT] += 0.8 / 2  # .508
    # "</s> the cat" was seen once, then sat: a leaf below "cat", .9 of it stays with the node
    after_the_cat = 0.9 * after_cat
    after_the_cat[SAT] += 0.1  # .5572
    histories = [np.array(history) for history in ([SAT, THE, CAT], [0, THE, CAT], [CAT], [SAT, SAT, THE, CAT])]
    answers = np.exp(table.next_log_probs(histories))
    np.testing.assert_allclose(answers[1], after_the_cat, rtol=1e-12)
    np.testing.assert_allclose(answers[2], after_cat, rtol=1e-12)
    np.testing.assert_allclose(answers[0], after_the_cat, rtol=1e-12)  # "the cat" alone is the same occurrence
    np.testing.assert_allclose(answers[3], after_the_cat, rtol=1e-12)


def test_a_cut_history_is_that_of_an_n_gram():
    table = fitted(SENTENCES, 5, Discounts.start(), longest=1)
    long, short = np.array([0, THE, CAT]), np.array([CAT])
    np.testing.assert_array_equal(*table.next_log_probs([long, short]))
    tree = context_tree(SENTENCES, 5, 1)
    assert tree.depth.tolist() == [1, 1, 1, 0]  # "</s>", "cat", "sat"; the and a were seen once
    # of two words of history "sat cat" is the deeper name of "sat"
    assert sorted(context_tree(SENTENCES, 5, 2).depth.tolist()) == [0, 1, 1, 2]


def spelt_out(ids: np.ndarray, size: int, discounts: Discounts, history: list[int], longest: int) -> np.ndarray:
    """The distribution after ``history``, from all contexts of the text, by the definitions of the modules."""
    contexts: list[tuple[int, ...]] = []
    for i in range(1, len(ids)):
        begin = max(j for j in range(i) if ids[j] == 0)
        contexts.append(tuple(ids[begin:i][::-1].tolist())[:longest])
    words = ids[1:].tolist()
    asked = tuple(history[::-1])
    if 0 in asked:
        asked = asked[: asked.index(0) + 1]
    asked = asked[:longest]
    matched = max(d for d in range(len(asked) + 1) if any(c[:d] == asked[:d] for c in contexts))

    def members(length: int) -> list[int]:
        return [e for e, context in enumerate(contexts) if context[:length] == asked[:length]]

    levels = [matched]  # a length for each set of occurrences, the longest first
    for length in range(matched - 1, -1, -1):
        if len(members(length)) > len(members(levels[-1])):
            levels.append(length)
    p = np.full(size, 1 / size)
    depth = -1
    for length in reversed(levels):
        found = members(length)
        if len(found) == 1 and len(contexts) > 1:
            d = discounts.leaf[leaf_row(depth, matched)]
            p = d * p
            p[words[found[0]]] += 1 - d
            continue
        reached = depth + 1
        depth = 0
        while all(len(contexts[e]) > depth for e in found) and len({contexts[e][depth] for e in found}) == 1:
            depth += 1
        branches = {(contexts[e][depth] if len(contexts[e]) > depth else -1 - e, words[e]) for e in found}
        counts = np.bincount([word for _, word in branches], minlength=size)
        row = min(reached, DEPTHS - 1) * TYPES + min(int((counts > 0).sum()), TYPES) - 1
        taken = np.where(counts > 0, discounts.node[row][np.clip(counts, 1, 3) - 1], 0)
        p = (counts - taken) / counts.sum() + taken.sum() / counts.sum() * p
    return p


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_every_probability_is_the_one_that_the_definition_gives(data: st.DataObject):
    size = data.draw(st.integers(2, 4))
    tokens = st.lists(st.integers(0, size - 1), min_size=1, max_size=25)
    text = [1, *data.draw(tokens)]  # a word, so that not all contexts are the same
    ids = np.array([0, *text * data.draw(st.integers(1, 2)), 0], np.int32)
    longest = data.draw(st.sampled_from([1, 2, 3, UNLIMITED]))
    discounts = any_discounts(data.draw(st.integers(0, 99)))
    table = fitted(ids, size, discounts, longest)
    row = np.array([0, *data.draw(st.sampled_from([text, text[::-1]])), *data.draw(tokens)], np.int32)
    following = np.exp(table.next_log_probs([row[:length] for length in range(1, len(row))]))
    for length, answer in enumerate(following, 1):
        expected = spelt_out(ids, size, discounts, row[:length].tolist(), longest)
        np.testing.assert_allclose(answer, expected, rtol=1e-9)
        assert answer.sum() == pytest.approx(1, abs=1e-12)
    scored = table.log_probs(row, row_starts(row))[1:]
    np.testing.assert_allclose(np.exp(scored), following[np.arange(len(row) - 1), row[1:]], rtol=1e-12)


def test_a_text_of_nothing_but_ends():
    table = fitted(np.zeros(5, np.int32), 3, Discounts.start())
    answers = np.exp(table.next_log_probs([np.array([0]), np.array([0, 2])]))
    np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-12)
    assert (answers.argmax(1) == 0).all()


def test_derivatives_are_differences():
    random = np.random.default_rng(2)
    ids = np.concatenate([[0], random.integers(0, 4, 300), [0]]).astype(np.int32)
    held_out = np.concatenate([ids[50:90], random.integers(0, 4, 60)]).astype(np.int32)
    tree = context_tree(ids, 4)
    of_nodes, discounts = shares(tree), any_discounts(5)
    lengths = history_lengths(held_out, row_starts(held_out))
    paths = _paths(tree, of_nodes, held_out, lengths, 1, len(held_out))
    nats, slopes = _loss(paths, discounts, 4)
    table = estimate(tree, of_nodes, discounts, 4, UNLIMITED)
    assert nats == pytest.approx(-table.log_probs(held_out, row_starts(held_out))[1:].sum(), rel=1e-12)
    for values, slope in zip(discounts, slopes, strict=True):
        for at in np.ndindex(values.shape):
            kept = values[at]
            around = []
            for moved in (kept - 1e-6, kept + 1e-6):
                values[at] = moved
                around.append(_loss(paths, discounts, 4)[0])
            values[at] = kept
            assert (around[1] - around[0]) / 2e-6 == pytest.approx(slope[at], abs=1e-4)


def test_discounts_are_learnt_from_what_is_held_out():
    random = np.random.default_rng(3)
    ids = np.concatenate([[0], random.integers(1, 5, 4000), [0]]).astype(np.int32)  # no word tells anything of the next
    held_out = np.concatenate([[0], random.integers(1, 5, 4000), [0]]).astype(np.int32)
    tree = context_tree(ids, 5)
    of_nodes, lengths = shares(tree), history_lengths(held_out, row_starts(held_out))
    discounts = learn_discounts(tree, of_nodes, held_out, lengths, 5)
    discounts.check()
    learnt, untold = (
        -estimate(tree, of_nodes, given, 5, UNLIMITED).log_probs(held_out, row_starts(held_out))[1:].mean()
        for given in (discounts, Discounts.start())
    )
    assert learnt < untold
    assert learnt == pytest.approx(np.log(4), abs=0.03)  # which is all that can be known
    np.testing.assert_array_equal(discounts.node[0], START_NODE)  # a root that saw one word alone: not met, not moved


def test_damaged_discounts_are_refused():
    start = Discounts.start()
    for node, leaf in [
        (start.node[1:], start.leaf),
        (start.node, start.leaf.astype(np.float32)),
        (start.node * 2, start.leaf),
        (start.node, start.leaf * 0),
        (start.node, start.leaf * np.nan),
    ]:
        with pytest.raises(ValueError, match="discounts"):
            Discounts(node, leaf).check()
