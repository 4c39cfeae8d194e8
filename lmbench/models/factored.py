"""Events and chains of factors -> a trie of Kneser-Ney estimates.

An n-gram looks back word by word, the nearest first, and backs off by giving up the most distant one. A chain does
the same with any factors of the history in any order (Bilmes & Kirchhoff 2003): words or classes, at any distance::

    words     w-1, w-2, w-3     the n-gram               skip     w-2, w-3         an n-gram with a hole
    classes   g-1, g-2, g-3     the class n-gram         mixed    g-1, w-1, g-2    the class helps where words are rare

With h_k the first k factors of a chain, estimates are interpolated modified Kneser-Ney (Chen & Goodman 1999)::

    p(y | h_k) = (a(h_k y) - D(a(h_k y))) / sum_v a(h_k v)  +  b(h_k) p(y | h_{k-1})

where a counts, at the end of the chain, how often y followed h_k; before, in how many different h_{k+1} y followed
h_k. The outcomes y may be parted into groups: then y is chosen within its own group, p(y | group of y, h), and what
no count decides is shared evenly among its members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, Self

import numpy as np

from lmbench.compiled import compiled
from lmbench.corpus.batches import Batch
from lmbench.models.ngram.smoothing import FALLBACK, estimate_discounts

WORDS, CLASSES = 0, 1
"""The streams a factor is read from."""
ENDED = -1
"""The value of a factor that the history is too short for."""


class Factor(NamedTuple):
    """What stands ``distance`` tokens before the event in ``stream``."""

    stream: int
    distance: int


def histories(factors: Sequence[Factor], streams: Sequence[np.ndarray], starts: np.ndarray) -> np.ndarray:
    """int32 (N, K): the value of each factor at each position; ``ENDED`` once the chain has read a row's first token.

    A hole may lead past the first token: what would stand there counts as a boundary. ``streams``: int32 (N,) each,
    of which the first holds the words. ``starts``: bool (N,), where rows begin; boundaries begin history anew by
    themselves.

    >>> words = np.array([0, 7, 8, 9])
    >>> histories([Factor(WORDS, 1), Factor(WORDS, 2)], [words], np.array([True, False, False, False])).tolist()
    [[0, -1], [0, -1], [7, 0], [8, 7]]
    """
    positions = np.arange(len(starts))
    begins = np.maximum.accumulate(np.where(starts | (streams[0] == 0), positions, 0))
    reach = positions - np.append(0, begins[:-1])[: len(positions)]  # tokens of history
    reach[:1] = 0
    values = np.zeros((len(positions), len(factors)), np.int32)
    ended = np.zeros(len(positions), bool)
    for k, (stream, distance) in enumerate(factors):
        inside = np.flatnonzero(reach >= distance)
        values[inside, k] = streams[stream][inside - distance]
        values[ended, k] = ENDED
        ended |= reach <= distance
    return values


def open_ends_of(prefixes: Batch, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last ``longest`` tokens of each prefix and one more, any word: ids, starts of rows, and where each ends."""
    recent = [np.append(row[-longest:], 0) for row in prefixes.rows()]
    ends = np.cumsum([len(row) for row in recent]) - 1
    starts = np.zeros(ends[-1] + 1, bool)
    starts[np.append(0, ends[:-1] + 1)] = True
    return np.concatenate(recent), starts, ends


@dataclass(frozen=True)
class Trie:
    """Every h_k that was seen is a node; each holds the outcomes that followed it, and leads to the nodes h_{k+1}.

    Nodes are numbered level by level, the groups first, within a level by (parent, value): the children of a node
    stand side by side, and the j-th of all children is node ``groups + j``. For M nodes and E stored outcomes:
    ``group``: int32 (Y,), that of each outcome. ``child_begins``: int64 (M + 1,), into ``child_values``: int32 (M -
    groups,), the factor's value. ``event_begins``: int64 (M + 1,), into ``events``: int32 (E,), outcomes in ascending
    order, and ``probabilities``: float32 (E,), interpolated. ``backoffs``: float32 (M,), what is left to outcomes
    that never followed.
    """

    group: np.ndarray
    child_begins: np.ndarray
    child_values: np.ndarray
    event_begins: np.ndarray
    events: np.ndarray
    probabilities: np.ndarray
    backoffs: np.ndarray

    @property
    def entries(self) -> int:
        """Stored outcomes of all nodes."""
        return len(self.events)

    @property
    def floor(self) -> np.ndarray:
        """float64 (groups,): 1 / members of each group."""
        return 1 / np.maximum(np.bincount(self.group, minlength=self.groups), 1)

    @property
    def groups(self) -> int:
        """Nodes that have no parent."""
        return len(self.backoffs) - len(self.child_values)

    def look_up(self, outcomes: np.ndarray, values: np.ndarray) -> np.ndarray:
        """float64 (N,): p(outcomes[i] | its group, values[i]); ``values``: int32 (N, K) from ``histories``."""
        result = np.empty(len(outcomes))
        _look_up(*self._arrays, self.floor, outcomes.astype(np.int32), np.ascontiguousarray(values), result)
        return result

    def distributions(self, values: np.ndarray) -> np.ndarray:
        """float64 (B, Y): p(y | group of y, values[b]) of every outcome y; the members of a group sum to one."""
        result = np.empty((len(values), len(self.group)))
        _distributions(*self._arrays, self.floor, np.ascontiguousarray(values), result)
        return result

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def to_arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays by name, each behind ``prefix``, for a file."""
        return {f"{prefix}.{field.name}": getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str, outcomes: int) -> Self:
        """What ``to_arrays`` gave. Raises KeyError or ValueError where it is no trie of so many ``outcomes``."""
        trie = cls(*(arrays[f"{prefix}.{field.name}"] for field in fields(cls)))
        nodes, kinds = len(trie.backoffs), (np.int32, np.int64, np.int32, np.int64, np.int32, np.float32, np.float32)
        lengths = (outcomes, nodes + 1, len(trie.child_values), nodes + 1, len(trie.events), len(trie.events), nodes)
        for field, array, kind, length in zip(fields(cls), trie._arrays, kinds, lengths, strict=True):
            if array.dtype != kind or array.shape != (length,):
                raise ValueError(f"{prefix}.{field.name}: {array.dtype} {array.shape} cannot be")
        for begins, last in ((trie.child_begins, len(trie.child_values)), (trie.event_begins, len(trie.events))):
            if begins[0] != 0 or begins[-1] != last or (np.diff(begins) < 0).any():
                raise ValueError(f"{prefix}: the nodes are not in order")
        for numbers, limit in ((trie.group, trie.groups), (trie.events, outcomes)):
            if ((numbers < 0) | (numbers >= limit)).any():
                raise ValueError(f"{prefix}: an outcome that is not there")
        if (trie.child_begins[:-1] + trie.groups <= np.arange(nodes))[np.diff(trie.child_begins) > 0].any():
            raise ValueError(f"{prefix}: a node that leads back")
        return trie


def estimate(outcomes: np.ndarray, group: np.ndarray, values: np.ndarray) -> Trie:
    """The trie of N events.

    ``outcomes``: int32 (N,). ``group``: int32 (Y,), from 0, the group of every outcome there is. ``values``: int32
    (N, K) from ``histories``. A level whose counts of counts give no discounts, usual where outcomes are few, takes
    .5, 1 and 1.5.
    """
    size, base = len(group), int(values.max(initial=0)) + 1
    outcomes = outcomes.astype(np.int64)
    nodes, number = group[outcomes].astype(np.int64), int(group.max()) + 1
    lower = 1 / np.bincount(group)[group[outcomes]]  # (N,): p of each event one level up
    stored, children, backoffs, parents = [], [], [], [np.zeros(0, np.int64)]
    # The distinct pairs of node and outcome, an event of each, the pair of each event, and occurrences.
    keys, first, pair, counts = _distinct(nodes * size + outcomes)
    offset = 0
    for k in range(values.shape[1] + 1):
        if k < values.shape[1]:  # the count of a pair is the number of different nodes below, each end being one more
            goes = np.flatnonzero(values[:, k] >= 0)
            below, _, child, _ = _distinct(nodes[goes] * base + values[goes, k])
            next_keys, next_first, next_pair, next_counts = _distinct(child * size + outcomes[goes])
            ends = np.bincount(pair[values[:, k] < 0], minlength=len(keys))
            counts = np.bincount(pair[goes[next_first]], minlength=len(keys)) + ends
        context = keys // size
        taken = np.array([0.0, *(estimate_discounts(counts) or FALLBACK)])[np.minimum(counts, 3)]
        totals = np.bincount(context, counts, number)
        left = np.bincount(context, taken, number)
        backoff = np.divide(left, totals, out=np.ones(number), where=totals > 0)
        probabilities = (counts - taken) / totals[context] + backoff[context] * lower[first]
        stored.append(
            (np.bincount(context, minlength=number), (keys % size).astype(np.int32), probabilities.astype(np.float32))
        )
        backoffs.append(backoff)
        if k == values.shape[1]:
            break
        parents.append(below // base + offset)
        children.append(below % base)
        lower = probabilities[pair[goes]]
        offset += number
        nodes, number, outcomes, values = child, len(below), outcomes[goes], values[goes]
        keys, first, pair, counts = next_keys, next_first, next_pair, next_counts
    total = sum(map(len, backoffs))
    lengths, events, probabilities = (np.concatenate(parts) for parts in zip(*stored, strict=True))
    return Trie(
        group.astype(np.int32),
        np.append(0, np.cumsum(np.bincount(np.concatenate(parents), minlength=total))),
        np.concatenate([np.zeros(0, np.int64), *children]).astype(np.int32),
        np.append(0, np.cumsum(lengths)),
        events,
        probabilities,
        np.concatenate(backoffs).astype(np.float32),
    )


def _distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The distinct keys in order, where each stands first, the number of each key's distinct one, and their counts."""
    bits = len(keys).bit_length()
    if int(keys.max(initial=0)).bit_length() + bits < 64:
        # Key and place fit one integer: values sort faster than places.
        packed = (keys << bits) | np.arange(len(keys))
        packed.sort()
        order, ascending = packed & ((1 << bits) - 1), packed >> bits
    else:
        order = np.argsort(keys, kind="stable")
        ascending = keys[order]
    new = np.ones(len(keys), bool)
    new[1:] = ascending[1:] != ascending[:-1]
    firsts = np.flatnonzero(new)
    numbers = np.empty(len(keys), np.int64)
    numbers[order] = np.cumsum(new) - 1
    return ascending[firsts], order[firsts], numbers, np.diff(firsts, append=len(keys))


@compiled
def _search(values: np.ndarray, begin: int, end: int, value: int) -> int:
    """Where ``value`` stands in the ascending ``values[begin:end]``, -1 where it does not."""
    while begin < end:
        middle = (begin + end) >> 1
        if values[middle] < value:
            begin = middle + 1
        elif values[middle] > value:
            end = middle
        else:
            return middle
    return -1


@compiled
def _look_up(
    group, child_begins, child_values, event_begins, events, probabilities, backoffs, floor, outcomes, values, result
):
    groups = len(backoffs) - len(child_values)
    for i in range(len(outcomes)):
        node = group[outcomes[i]]
        p, at = floor[node], 0
        for k in range(values.shape[1] + 1):
            if at >= 0:  # what did not follow the shorter history cannot have followed the longer
                at = _search(events, event_begins[node], event_begins[node + 1], outcomes[i])
            p = probabilities[at] if at >= 0 else p * backoffs[node]
            if k == values.shape[1] or values[i, k] < 0:
                break
            child = _search(child_values, child_begins[node], child_begins[node + 1], values[i, k])
            if child < 0:
                break
            node = groups + child
        result[i] = p


@compiled
def _distributions(
    group, child_begins, child_values, event_begins, events, probabilities, backoffs, floor, values, result
):
    groups, levels = len(backoffs) - len(child_values), values.shape[1] + 1
    path, weights, left = np.empty(levels, np.int64), np.empty(levels), np.empty(groups)
    for b in range(len(values)):
        row = result[b]
        row[:] = 0.0
        for root in range(groups):
            path[0], length = root, 1
            while length < levels and values[b, length - 1] >= 0:
                node = path[length - 1]
                child = _search(child_values, child_begins[node], child_begins[node + 1], values[b, length - 1])
                if child < 0:
                    break
                path[length] = groups + child
                length += 1
            weight = 1.0  # what the histories longer than the k-th leave to it
            for k in range(length - 1, -1, -1):
                weights[k] = weight
                weight *= backoffs[path[k]]
            left[root] = floor[root] * weight
            for k in range(length):  # the longest history an outcome has followed is the last to be written
                for e in range(event_begins[path[k]], event_begins[path[k] + 1]):
                    row[events[e]] = probabilities[e] * weights[k]
        for y in range(len(group)):
            if row[y] == 0.0:  # never followed any of them
                row[y] = left[group[y]]
