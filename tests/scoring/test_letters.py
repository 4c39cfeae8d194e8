"""Letters say neither more nor less than the relation they stand for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lmbench.scoring.letters import compact_letters


def relation(count: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    differ = np.zeros((count, count), bool)
    for one, other in pairs:
        if one != other:
            differ[one, other] = differ[other, one] = True
    return differ


def test_nobody_differs_or_all_do() -> None:
    assert compact_letters(relation(3, [])) == ["a", "a", "a"]
    assert compact_letters(relation(3, [(0, 1), (0, 2), (1, 2)])) == ["a", "b", "c"]
    assert compact_letters(relation(0, [])) == []


def test_a_chain_in_which_neighbours_are_alike() -> None:
    # 0 - 1 - 2 - 3, only neighbours not distinguishable: one letter for each pair of neighbours
    far = [(0, 2), (0, 3), (1, 3)]
    assert compact_letters(relation(4, far)) == ["a", "ab", "bc", "c"]
    assert compact_letters(relation(4, far), order=[3, 2, 1, 0]) == ["c", "bc", "ab", "a"]


def test_letters_go_on_after_those_of_another_display() -> None:
    assert compact_letters(relation(2, [(0, 1)]), skip=25) == ["z", "A"]
    assert compact_letters(relation(2, [(0, 1)]), skip=51) == ["Z", "a1"]


@given(st.integers(1, 9), st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30), st.randoms())
def test_two_share_a_letter_if_and_only_if_they_do_not_differ(count: int, pairs: list, random: object) -> None:
    differ = relation(count, [(one % count, other % count) for one, other in pairs])
    order = list(range(count))
    random.shuffle(order)  # type: ignore[attr-defined]
    letters = compact_letters(differ, order)
    for one in range(count):
        assert "a" in letters[order[0]]
        for other in range(count):
            assert bool(set(letters[one]) & set(letters[other])) == (not differ[one, other])
