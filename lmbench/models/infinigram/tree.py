"""Token ids -> ``ContextTree``: every context of the text, however long, and the words that follow it.

The context of a word is read backwards, the nearest word first, up to the boundary that opens the unit. All contexts of
the text, sorted, are the suffix array of the text reversed; those that begin alike stand side by side. Cut wherever
they part, they form a tree (Weiner 1973) of fewer nodes than the text has tokens::

    the cat sat </s> a cat sat </s>                         history "the cat sat", read backwards: sat, cat, the

    root --- sat cat --+- the </s>    followed by </s>      "sat cat" is one edge: every sat stands after a cat, so
                       +- a </s>      followed by </s>      nothing new is learnt from knowing it

A *node* is a context that was seen after at least two different words, or at the beginning of at least two units; a
*leaf* is a context that was seen once. The *entries* of a node are the words that follow it, each with the number of
branches of the node in which it does: Kneser and Ney's count, distinct words on the left, and that of a sequence
memoizer (Wood et al. 2009) in which a branch hands each of its words on once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmbench.compiled import compiled
from lmbench.models.infinigram.suffixes import common_prefixes, suffix_array

UNLIMITED = (1 << 31) - 1
"""Tokens of history where none are cut: more than any text holds."""


class ContextTree(NamedTuple):
    """M nodes, children before parents, so that the root is the last; n leaves, one for each event; E entries.

    ``text``: int32 (n,), the training text reversed, without the boundary that ends it. Leaf i is its suffix that
    begins at i, the context of the event ``text[i - 1]``, of that last boundary where i = 0. ``branch``: int32 (n,),
    the node that each leaf hangs from.

    Of each node, int32 (M,): ``parent``, -1 above the root; ``depth``, tokens of context; ``sample``, a leaf below it.
    Its children stand from ``first_child[v]`` to ``first_child[v + 1]``, its entries likewise from ``first_entry``;
    both int64 (M + 1,).

    ``child``: int32 (M - 1 + n,), a node, or ``-1 - i`` for leaf i; siblings ascend by ``label``, int32, the first
    token of the edge, -1 where the context has ended. ``word``, ``counts``: int32 (E,), ascending by word in a node.
    """

    text: np.ndarray
    branch: np.ndarray
    parent: np.ndarray
    depth: np.ndarray
    sample: np.ndarray
    first_child: np.ndarray
    child: np.ndarray
    label: np.ndarray
    first_entry: np.ndarray
    word: np.ndarray
    counts: np.ndarray

    @property
    def nodes(self) -> int:
        """M."""
        return len(self.parent)

    @property
    def entries(self) -> int:
        """E."""
        return len(self.word)


def context_tree(ids: np.ndarray, vocabulary_size: int, longest: int = UNLIMITED) -> ContextTree:
    """The tree of all contexts of ``ids``, int32 (n + 1,): ``</s> w w </s> w </s>``, each below ``vocabulary_size``.

    ``longest``: tokens after which a context is cut. Contexts that are equal to their end are leaves of one node.

    >>> tree = context_tree(np.array([0, 2, 3, 4, 0, 1, 3, 4, 0], np.int32), 5)  # </s> the cat sat </s> a cat sat </s>
    >>> tree.depth.tolist()  # "</s>", "cat", "sat cat" and the root
    [1, 1, 2, 0]
    >>> root = slice(*tree.first_entry[-2:])
    >>> dict(zip(tree.word[root].tolist(), tree.counts[root].tolist()))  # "cat" stands after two words
    {0: 1, 1: 1, 2: 1, 3: 2, 4: 1}
    """
    text = np.ascontiguousarray(ids[:-1][::-1], np.int32)
    order = suffix_array(text)
    shared = np.minimum(common_prefixes(text, order, 0), np.int32(longest))
    branch, parent, depth, lowest, highest = _branches(shared)
    first_child, child, label = _children(text, order, branch, parent, depth, highest, longest)
    first_entry, word, count = _entries(text, first_child, child, vocabulary_size)
    by_leaf = np.empty_like(branch)
    by_leaf[order] = branch
    return ContextTree(text, by_leaf, parent, depth, order[lowest], first_child, child, label, first_entry, word, count)


@compiled
def _branches(shared: np.ndarray) -> tuple[np.ndarray, ...]:
    """The intervals of sorted contexts that begin alike (Abouelhoda et al. 2004): nodes, numbered as they close.

    ``shared``: int32 (n,). Returns int32: by place in the order, the node of each leaf (n,); by node, its parent, its
    depth, and the first and the last place of its interval (M,). A stack holds the intervals that are open.
    """
    n = len(shared)
    branch, parent = np.empty(n, np.int32), np.empty(n + 1, np.int32)
    depth, low = np.empty(n + 1, np.int32), np.empty(n + 1, np.int32)
    high, number = np.empty(n + 1, np.int32), np.empty(n + 1, np.int32)
    stack = np.empty(n + 1, np.int32)
    depth[0], low[0], stack[0], parent[0] = 0, 0, 0, -1
    top, opened, closed = 0, 1, 0
    for x in range(1, n + 1):
        current = shared[x] if x < n else 0
        if current > depth[stack[top]]:
            depth[opened], low[opened] = current, x - 1
            top += 1
            stack[top] = opened
            opened += 1
            branch[x - 1] = stack[top]
            continue
        branch[x - 1] = stack[top]
        while depth[stack[top]] > current:
            last = stack[top]
            high[last], number[last] = x - 1, closed
            closed += 1
            top -= 1
            if depth[stack[top]] < current:
                depth[opened], low[opened] = current, low[last]
                top += 1
                stack[top] = opened
                opened += 1
            parent[last] = stack[top]
    high[0], number[0] = n - 1, closed
    by_number = np.empty((4, opened), np.int32)
    for v in range(opened):
        place = number[v]
        by_number[0, place] = number[parent[v]] if parent[v] >= 0 else -1
        by_number[1, place], by_number[2, place], by_number[3, place] = depth[v], low[v], high[v]
    for x in range(n):
        branch[x] = number[branch[x]]
    return branch, by_number[0], by_number[1], by_number[2], by_number[3]


@compiled
def _children(
    text: np.ndarray,
    order: np.ndarray,
    branch: np.ndarray,
    parent: np.ndarray,
    depth: np.ndarray,
    highest: np.ndarray,
    limit: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``first_child``, ``child``, ``label`` of the tree: leaves and nodes, in order of their last place."""
    n, nodes = len(order), len(parent)
    first = np.zeros(nodes + 1, np.int64)
    for x in range(n):
        first[branch[x] + 1] += 1
    for v in range(nodes - 1):
        first[parent[v] + 1] += 1
    for v in range(nodes):
        first[v + 1] += first[v]
    free = first[:-1].copy()
    child, label = np.empty(n + nodes - 1, np.int32), np.empty(n + nodes - 1, np.int32)
    v = 0
    for x in range(n):
        above = branch[x]
        place = free[above]
        free[above] += 1
        child[place] = -1 - order[x]
        at = order[x] + depth[above]
        ended = depth[above] >= limit or (depth[above] > 0 and text[at - 1] == 0)
        label[place] = -1 if ended else text[at]
        while v < nodes - 1 and highest[v] == x:
            above = parent[v]
            place = free[above]
            free[above] += 1
            child[place], label[place] = v, text[order[x] + depth[above]]
            v += 1
    return first, child, label


@compiled
def doubled(array: np.ndarray) -> np.ndarray:
    """``array``, int32 (n,), with room for as much again."""
    longer = np.empty(2 * len(array), np.int32)
    for k in range(len(array)):
        longer[k] = array[k]
    return longer


@compiled
def _entries(
    text: np.ndarray, first_child: np.ndarray, child: np.ndarray, vocabulary_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``first_entry``, ``word``, ``count`` of the tree, from the leaves up."""
    nodes = len(first_child) - 1
    first = np.zeros(nodes + 1, np.int64)
    counts = np.zeros(vocabulary_size, np.int32)  # of the words of one node
    found = np.empty(vocabulary_size, np.int32)  # these words
    word, count = (
        np.empty(2 * len(text) + vocabulary_size, np.int32),
        np.empty(2 * len(text) + vocabulary_size, np.int32),
    )
    size = 0
    for v in range(nodes):
        distinct = 0
        for c in range(first_child[v], first_child[v + 1]):
            below = child[c]
            if below < 0:
                w = text[-2 - below] if below < -1 else np.int32(0)
                if counts[w] == 0:
                    found[distinct] = w
                    distinct += 1
                counts[w] += 1
                continue
            for e in range(first[below], first[below + 1]):
                w = word[e]
                if counts[w] == 0:
                    found[distinct] = w
                    distinct += 1
                counts[w] += 1
        while size + distinct > len(word):
            word, count = doubled(word), doubled(count)
        words = found[:distinct]
        words.sort()
        for w in words:
            word[size], count[size] = w, counts[w]
            counts[w] = 0
            size += 1
        first[v + 1] = size
    return first, word[:size].copy(), count[:size].copy()


@compiled
def _find(keys: np.ndarray, begin: int, end: int, key: int) -> int:
    """Where ``key`` stands among ``keys[begin:end]``, ascending; -1 where it does not."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low if low < end and keys[low] == key else -1


@compiled
def locate(tree: ContextTree, ids: np.ndarray, i: int, length: int) -> tuple[int, int, int]:
    """Where the ``length`` tokens before ``ids[i]``, int32 (N,), lead: a node, a leaf or -1, how many tokens matched.

    Below that node are all occurrences of what matched, though the history may end, or differ, within the edge above
    it. With a leaf, it is the node the leaf hangs from.
    """
    v, matched = len(tree.parent) - 1, 0
    while matched < length:
        edge = _find(tree.label, tree.first_child[v], tree.first_child[v + 1], ids[i - 1 - matched])
        if edge < 0:
            return v, -1, matched
        below = tree.child[edge]
        leaf = -1 - below if below < 0 else -1
        sample = leaf if below < 0 else tree.sample[below]
        stop = min(length, len(tree.text) - sample)
        if below >= 0:
            stop = min(stop, tree.depth[below])
            v = below
        matched += 1
        while matched < stop and tree.text[sample + matched] == ids[i - 1 - matched]:
            matched += 1
        if leaf >= 0 or matched < tree.depth[v]:
            return v, leaf, matched
    return v, -1, matched


@compiled
def entry_of(tree: ContextTree, node: int, word: int) -> int:
    """Which of the tree's entries is that of ``word`` at ``node``, -1 where the node has none."""
    return _find(tree.word, tree.first_entry[node], tree.first_entry[node + 1], word)


@compiled
def follower(tree: ContextTree, leaf: int) -> int:
    """The word that was seen after the context ``leaf``."""
    return tree.text[leaf - 1] if leaf > 0 else 0
