"""Every smoothing method against arithmetic by hand, and against its equation written out with dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_smoothing import PlainSmoothing

from lmbench.errors import UsageError
from lmbench.models.ngram import recursion
from lmbench.models.ngram.counting import Counts, count
from lmbench.models.ngram.discounts import estimate_discount, katz_discounts
from lmbench.models.ngram.heldout import best_k, interpolation_weights, sightings
from lmbench.models.ngram.methods import METHODS
from lmbench.models.ngram.smoothing import base_distribution, estimate
from lmbench.models.ngram.table import Table

FLOAT32 = 1e-6
"""Log probabilities are kept as float32: each is right to 6e-8 of itself."""
SIZE = 5  # </s> = 0, <unk> = 1, a = 2, b = 3, c = 4
THREE = [[2, 3], [2, 3], [2, 4]]  # "a b", "a b", "a c"
# Occurrences: </s> 3, a 3, b 2, c 1, nine in all. <s> a 3, a b 2, a c 1, b </s> 2, c </s> 1.
ALL = [(name, form) for name, method in METHODS.items() for form in method.forms]


def flat(text: list[list[int]]) -> np.ndarray:
    return np.array([0] + [i for words in text for i in (*words, 0)], np.int32)


def counted(text: list[list[int]], order: int) -> Counts:
    return count(flat(text), SIZE, order)


def after(table: Table, *history: int) -> np.ndarray:
    """float64 (V,): the distribution after a history."""
    return np.exp(table.next_log_probs([np.array(history, np.int32)])[0])


def test_maximum_likelihood_by_hand() -> None:
    table = estimate(counted(THREE, 2), "mle")
    assert after(table, 2) == pytest.approx([0, 0, 0, 2 / 3, 1 / 3])
    # <unk> was never a history, so no history is left: the unigrams.
    assert after(table, 1) == pytest.approx([3 / 9, 0, 3 / 9, 2 / 9, 1 / 9])


def test_add_k_by_hand() -> None:
    table = estimate(counted(THREE, 2), "add-k", k=0.5)
    # c(a) = 3, k V = 2.5: (0, 0, 0, 2, 1) + .5 each over 5.5.
    assert after(table, 2) == pytest.approx([0.5 / 5.5, 0.5 / 5.5, 0.5 / 5.5, 2.5 / 5.5, 1.5 / 5.5])
    assert after(table, 1) == pytest.approx([0.2] * 5)
    # Order 3: <s> is the whole history of the first word, 3 of 3: (3 + .5) / 5.5. After "b a" nothing was seen.
    table = estimate(counted(THREE, 3), "add-k", k=0.5)
    assert after(table, 0)[2] == pytest.approx(3.5 / 5.5)
    assert after(table, 0, 2)[3] == pytest.approx(2.5 / 5.5)
    assert after(table, 0, 3, 2) == pytest.approx([0.2] * 5)
    assert after(estimate(counted(THREE, 1), "add-k", k=1.0), 0)[1] == pytest.approx(1 / 14)


def test_witten_bell_by_hand() -> None:
    # Four types were seen in nine occurrences: p(b) = (2 + 4/5) / 13, p(c) = (1 + 4/5) / 13. a has two words in three.
    b, c = 2.8 / 13, 1.8 / 13
    assert after(estimate(counted(THREE, 2), "witten-bell"), 2)[3:] == pytest.approx([(2 + 2 * b) / 5, (1 + 2 * c) / 5])
    table = estimate(counted(THREE, 2), "witten-bell", "backoff")
    assert after(table, 2)[3:] == pytest.approx([2 / 5, 1 / 5])
    assert after(table, 2)[1] == pytest.approx(2 / 5 / (1 - b - c) * 0.8 / 13)


def test_absolute_by_hand() -> None:
    # Unigrams: n1 = 1 (c), n2 = 1 (b): D = 1/3. Bigrams: n1 = n2 = 2: D = 1/3. p(b) = 5/27 + 4/27 / 5.
    b, c, unknown = 5 / 27 + 4 / 135, 2 / 27 + 4 / 135, 4 / 135
    table = estimate(counted(THREE, 2), "absolute")
    assert after(table, 2)[3:] == pytest.approx([5 / 9 + 2 / 9 * b, 2 / 9 + 2 / 9 * c])
    table = estimate(counted(THREE, 2), "absolute", "backoff")
    assert after(table, 2)[[1, 3, 4]] == pytest.approx([2 / 9 / (1 - b - c) * unknown, 5 / 9, 2 / 9])
    given = estimate(counted(THREE, 2), "absolute", discounts=[(0.9,), (0.5,)])
    assert after(given, 2)[3] == pytest.approx(1.5 / 3 + 1 / 3 * (1.1 / 9 + 0.4 / 5))


def test_kneser_ney_by_hand() -> None:
    # Contexts: </s> 2, a 1, b 1, c 1, in all 5; n1 = 3, n2 = 1: D = 3/5. p(b) = .4/5 + 2.4/5 / 5. Bigrams: D = 1/3.
    b = 0.08 + 0.096
    table = estimate(counted(THREE, 2), "kneser-ney")
    assert after(table, 2)[3] == pytest.approx(5 / 9 + 2 / 9 * b)
    assert after(table, 2)[1] == pytest.approx(2 / 9 * 0.096)
    table = estimate(counted(THREE, 2), "kneser-ney", "backoff")
    assert after(table, 2)[3] == pytest.approx(5 / 9)
    assert after(table, 2)[1] == pytest.approx(2 / 9 / (1 - 2 * b) * 0.096)


def test_good_turing_by_hand() -> None:
    # 8 counts of 1, 3 of 2, 2 of 3, none of 4: k = 2, A = 3 * 2 / 8. 1*/1 = 2 * 3 / 8 = 3/4 = A, so d_1 = 0 cannot be;
    # 2*/2 = 3 * 2 / (2 * 3) = 1, so d_2 = 1: nothing is taken.
    taken, well = katz_discounts(np.array([1] * 8 + [2] * 3 + [3] * 2))
    assert not well
    assert taken.tolist() == [0, 0, 0, 0]
    # 20 of 1, 4 of 2, 1 of 3: A = 3 / 20; 1*/1 = 8 / 20, d_1 = (.4 - .15) / .85; 2*/2 = 3/8, d_2 = (.375 - .15) / .85
    taken, well = katz_discounts(np.array([1] * 20 + [2] * 4 + [3]))
    assert well
    assert taken == pytest.approx([0, 1 - 0.25 / 0.85, 2 - 2 * 0.225 / 0.85, 0])
    assert katz_discounts(np.array([2, 2, 3]))[0].tolist() == [0, 0]  # nothing was seen once
    # The bigrams of THREE give none (1*/1 = 2): counts stay, and one occurrence goes to what was not seen.
    notes: list[str] = []
    table = estimate(counted(THREE, 2), "good-turing", note=notes.append)
    assert len(notes) == 1
    assert "order 2 " in notes[0]
    # Unigrams: <unk> was not seen, so one of ten occurrences is spread over all five: p(w) = (c + 1/5) / 10.
    assert after(table, 1) == pytest.approx([0.32, 0.02, 0.32, 0.22, 0.12])
    assert after(table, 2)[[1, 3, 4]] == pytest.approx([1 / 4 / (1 - 0.22 - 0.12) * 0.02, 2 / 4, 1 / 4])
    # Order 3 drops "a c </s>" and "<s> a c", seen once; <s> a b stays, and what <s> a c had is left to "a".
    table = estimate(counted(THREE, 3), "good-turing")
    assert [len(grams) for grams in table.orders] == [5, 5, 2]


def test_stupid_backoff_by_hand() -> None:
    table = estimate(counted(THREE, 2), "stupid-backoff")
    # Seen: c(ab) / c(a). Not seen after a: .4 c(</s>) / 9. Never seen: .4 (.4 / 5).
    assert after(table, 2)[[0, 1, 3]] == pytest.approx([0.4 * 3 / 9, 0.4 * 0.4 / 5, 2 / 3])


def test_jelinek_mercer_by_hand() -> None:
    # Held-out "b b": b, b, </s> against the nine occurrences, in the bucket 8-15. With p(b) = 2l/9 + (1-l)/5,
    # p(</s>) = 3l/9 + (1-l)/5 and one event on either side, the best l makes 2 ln p(b) + ln p(</s>) + ln l(1-l) most
    held_out = np.array([0, 3, 3, 0], np.int32)
    counts = counted(THREE, 1)
    weights = interpolation_weights(sightings(counts, held_out), np.full(SIZE, 1 / SIZE))
    grid = np.linspace(0.001, 0.999, 9999)
    value = 2 * np.log(2 * grid / 9 + (1 - grid) / 5) + np.log(grid / 3 + (1 - grid) / 5) + np.log(grid * (1 - grid))
    best = grid[value.argmax()]
    assert weights[0, 3] == pytest.approx(best, abs=2e-3)
    assert weights[0, 9] == weights[0, 3]  # no held-out history was seen so often: the next lower bucket
    table = estimate(counts, "jelinek-mercer", held_out=held_out)
    assert after(table, 0)[3] == pytest.approx(2 / 9 * weights[0, 3] + (1 - weights[0, 3]) / 5)
    with pytest.raises(UsageError, match="held-out"):
        estimate(counts, "jelinek-mercer")


def test_k_is_the_best_for_the_held_out_text() -> None:
    counts, base = counted(THREE * 4, 2), np.full(SIZE, 1 / SIZE)
    held_out = flat([[2, 3], [2, 2], [3, 4], [2, 4]])
    k = best_k(sightings(counts, held_out), base, SIZE)

    def nats(k: float) -> float:
        return -float(estimate(counts, "add-k", k=k).log_probs(held_out, np.zeros(len(held_out), bool))[1:].sum())

    assert nats(k) < min(nats(k * 1.1), nats(k / 1.1))
    assert 1e-6 < k < 10


def test_discount_of_one_number() -> None:
    assert estimate_discount(np.array([1, 1, 1, 2])) == pytest.approx(3 / 5)
    assert estimate_discount(np.array([1, 1, 3])) is None
    assert estimate_discount(np.array([2, 2])) is None


texts = st.lists(st.lists(st.integers(2, 4), max_size=7), min_size=1, max_size=12)


@pytest.mark.parametrize(("name", "form"), ALL)
@settings(max_examples=25, deadline=None)
@given(
    text=texts,
    sentence=st.lists(st.integers(1, 4), max_size=6),
    order=st.integers(1, 5),
    base=st.sampled_from([[0.2] * 5, [0.1, 0.6, 0.1, 0.1, 0.1], [0, 1, 0, 0, 0], [0.25, 0, 0.25, 0.25, 0.25]]),
    cutoffs=st.sampled_from([None, None, [0, 0, 1], [0, 1, 1, 2]]),
)
def test_table_equals_the_equation(text, sentence, order, base, cutoffs, name, form) -> None:
    """Seen and unseen histories and words, <unk> among them, and every distribution sums to one."""
    counts, held_out = counted(text, order), flat([[2, 3], sentence])
    found = interpolation_weights(sightings(counts, held_out), np.array(base))
    table = estimate(
        counts, name, form, k=0.5, types=9, base=np.array(base), held_out=held_out, cutoffs=cutoffs
    )  # fmt: skip
    plain = PlainSmoothing(text, order, name, form, base, types=9, cutoffs=cutoffs, weights=found)
    row = (0, *sentence)
    answers = np.exp(table.next_log_probs([np.array(row[:i]) for i in range(1, len(row) + 1)]))
    for i, answer in enumerate(answers, 1):
        expected = [plain.probability(w, row[:i]) for w in range(SIZE)]
        assert answer == pytest.approx(expected, rel=3e-6, abs=1e-9)
        if METHODS[name].forms != ("fixed",):
            assert answer.sum() == pytest.approx(1, abs=FLOAT32)


@pytest.mark.parametrize(("name", "form"), ALL)
def test_every_stored_history_has_a_distribution(name: str, form: str) -> None:
    rng = np.random.default_rng(0)
    text = [rng.choice(20, rng.integers(0, 9), p=_zipf(20)).tolist() for _ in range(400)]
    text = [[int(w) + 2 for w in words] for words in text]
    histories = [np.array([0, *words[:length]]) for words in text[:60] for length in range(len(words) + 1)]
    for order in (1, 2, 4):
        table = estimate(count(flat(text), 22, order), name, form, held_out=flat(text[:50]))
        answers = table.next_log_probs(histories)
        assert not np.isnan(answers).any()
        if form != "fixed":
            assert np.abs(np.exp(answers).sum(1) - 1).max() < FLOAT32
        for history, answer in zip(histories[:40], answers, strict=False):
            extended = [table.log_probs(np.append(history, w), np.zeros(len(history) + 1, bool))[-1] for w in (0, 1, 5)]
            assert extended == pytest.approx(answer[[0, 1, 5]].tolist(), rel=FLOAT32)


def _zipf(size: int) -> np.ndarray:
    weights = 1 / np.arange(1, size + 1)
    return weights / weights.sum()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_do_not_change_the_numbers(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    counts = count(flat([rng.integers(1, 30, 20).tolist() for _ in range(100)]), 30, 4)
    expected = estimate(counts, "modified-kneser-ney", "backoff")
    monkeypatch.setattr(recursion, "threads", lambda: threads)
    again = estimate(counts, "modified-kneser-ney", "backoff")
    for mine, yours in zip(expected.orders, again.orders, strict=True):
        assert np.array_equal(mine.log_probs, yours.log_probs)
        assert np.array_equal(mine.log_backoffs, yours.log_backoffs)


def test_arrays_lie_where_they_are_wanted() -> None:
    made: list[int] = []

    def allocate(length: int, kind: object) -> np.ndarray:
        made.append(length)
        return np.empty(length, kind)

    table = estimate(counted(THREE, 2), "modified-kneser-ney", allocate=allocate)
    assert made == [5, 5, 1, 5, 5, 5]  # p in float64, ln p and ln b for unigrams, whose context is one, and bigrams
    assert table.entries == 10


def test_what_stands_below_the_unigrams() -> None:
    counts = counted(THREE, 2)
    assert base_distribution(counts, 1).tolist() == [0.2] * 5
    # Eight types: three beyond the five are <unk> too, which has 4/8.
    assert base_distribution(counts, 1, types=8) == pytest.approx([1 / 8, 4 / 8, 1 / 8, 1 / 8, 1 / 8])
    assert base_distribution(counts, 1, closed=True) == pytest.approx([1 / 4, 0, 1 / 4, 1 / 4, 1 / 4])
    assert base_distribution(counts, 1, floor=False).tolist() == [0, 1, 0, 0, 0]
    assert base_distribution(counts, None, floor=False) == pytest.approx([3 / 9, 0, 3 / 9, 2 / 9, 1 / 9])


def test_cutoffs_by_hand() -> None:
    table = estimate(counted(THREE, 2), "modified-kneser-ney", discounts=[(0.5, 1, 1.5)] * 2, cutoffs=[0, 1])
    # a c and c </s> go. After a: (2 - 1)/3 for b, and 1 + 1 of 3 to the unigrams; c has no children: all goes on.
    assert [len(grams) for grams in table.orders] == [5, 3]
    assert np.exp(table.orders[0].log_backoffs) == pytest.approx([1.5 / 3, 1, 2 / 3, 1 / 2, 1])
    assert after(table, 2).sum() == pytest.approx(1, abs=FLOAT32)
