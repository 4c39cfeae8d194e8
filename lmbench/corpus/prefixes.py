"""Rules + spelling -> the exact distribution of the next token after every prefix.

The state after a prefix is the set of stacks that can be left to rewrite, each with its share of the
probability. A consistent grammar rewrites any stack into some sentence with probability 1, so the weight of
a stack is the probability of everything that begins like this, and nothing is left to sum::

    S -> NP VP        prefix          stacks (top first) and weights
    NP -> the N       (nothing)       [S] 1
                      the             [N VP] 1
                      the dog         [VP] 1
                      the dog sees    [NP] 0.4   [] 0.6          p(</s>) = 0.6

Prefix probabilities of context-free grammars are due to Jelinek & Lafferty (1991); Stolcke (1995) computes them
with Earley's parser. Here nothing recurs on the left, so the plain expansion of the topmost symbol ends and
the forward weights of Stolcke's states are those of the stacks. Words are spelled with tokens in a trie of
their preterminal, so a token can be a word, a character, a byte or a piece of a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

END = 0
"""The token that ends a sentence."""
START = 0
"""The state before the first token."""
LIMIT = 2_000_000
"""Stacks held, over all states, before the memory of them is emptied (some 250 MB)."""

Moves = dict[int, list[tuple[float, tuple[int, ...]]]]


class Prefixes:
    """An automaton whose states are prefixes that leave the same to be said.

    ``rules``: (left, right side, probability), symbol 0 the start. ``words``: (preterminal, probability) of
    each word; ``first`` and ``later``: its tokens where it opens the sentence and elsewhere. Words may share
    tokens (``<unk>``): their probabilities add up. Token 0 is the end of the sentence and spells nothing.

    >>> p = Prefixes([(0, (1, 2), 0.25), (0, (1,), 0.75)], [(1, 1.0), (2, 1.0)], [(1,), (2,)], [(1,), (2,)])
    >>> round(p.log_prob([1, 2]), 4), p.log_prob([2])
    (-1.3863, -inf)
    """

    def __init__(
        self,
        rules: Sequence[tuple[int, tuple[int, ...], float]],
        words: Sequence[tuple[int, float]],
        first: Sequence[tuple[int, ...]],
        later: Sequence[tuple[int, ...]],
    ) -> None:
        self._rules: dict[int, list[tuple[tuple[int, ...], float]]] = {}
        for left, right, probability in rules:
            self._rules.setdefault(left, []).append((right, probability))
        symbols = max(max(left for left, _, _ in rules), max(left for left, _ in words)) + 1
        # A node of a trie is a symbol like any other; its moves are filled in by _spell.
        self._moves: dict[int, Moves] = {}
        self._first: dict[int, Moves] = {}
        for table, spelling in ((self._first, first), (self._moves, later)):
            entries: dict[int, list[tuple[tuple[int, ...], float]]] = {}
            for (left, probability), tokens in zip(words, spelling, strict=True):
                entries.setdefault(left, []).append((tokens, probability))
            for left, spelled in entries.items():
                symbols = self._spell(table, left, spelled, symbols)
        self._symbols = symbols
        self._choices: dict[int, tuple[tuple[float, tuple[int, ...]], ...]] = {}
        self._choice_ids: dict[tuple[tuple[float, tuple[int, ...]], ...], int] = {}
        self._corners: dict[int, dict[tuple[int, tuple[int, ...]], float]] = {}
        self._nexts: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.forget()

    def forget(self) -> None:
        """Empty the memory of states; only START is known afterwards."""
        self._stacks: list[tuple[int, int]] = [(-1, -1), (0, 0)]  # (top, stack below); 0 is empty, 1 is [S]
        self._stack_ids = {stack: number for number, stack in enumerate(self._stacks)}
        self._states: list[list[tuple[int, float]]] = [[(1, 1.0)]]
        self._state_ids: dict[bytes, int] = {}
        self._held = 1
        self._edges: list[dict[int, tuple[float, int]]] = [{}]

    @property
    def full(self) -> bool:
        """Whether it is time to ``forget``."""
        return self._held + len(self._stacks) > LIMIT

    def step(self, state: int, token: int) -> tuple[float, int]:
        """ln p(token | state), nats, and the state after it; (-inf, START) where it cannot come next."""
        known = self._edges[state].get(token)
        if known is None:
            known = self._edges[state][token] = self._step(state, token)
        return known

    def log_prob(self, tokens: Sequence[int]) -> float:
        """ln p of the sentence, nats, its end included."""
        if self.full:
            self.forget()
        total, state = 0.0, START
        for token in (*tokens, END):
            value, state = self.step(state, token)
            total += value
            if value == -np.inf:
                break
        return total

    def distribution(self, state: int, size: int) -> np.ndarray:
        """float64 (size,): p of every token as the next one."""
        result = np.zeros(size)
        for stack, weight in self._states[state]:
            if not stack:
                result[END] += weight
                continue
            top = self._stacks[stack][0]
            if top not in self._nexts or state == START:
                moves = self._moves_of(top, state == START)
                masses = [sum(p for p, _ in found) for found in moves.values()]
                nexts = np.array(list(moves), np.int64), np.array(masses)
                if state == START:
                    result[nexts[0]] += weight * nexts[1]
                    continue
                self._nexts[top] = nexts
            tokens, probabilities = self._nexts[top]
            result[tokens] += weight * probabilities
        return result

    def _step(self, state: int, token: int) -> tuple[float, int]:
        after: dict[int, float] = {}
        total = 0.0
        for stack, weight in self._states[state]:
            if not stack or token == END:
                total += weight if not stack and token == END else 0.0
                continue
            top, below = self._stacks[stack]
            for probability, pushed in self._moves_of(top, state == START).get(token, ()):
                share = weight * probability
                total += share
                choice, under = self._stacks[below]
                if not pushed and choice in self._choices:  # a word has ended: its continuations part now
                    for part, rest in self._choices[choice]:
                        number = self._push(rest, under)
                        after[number] = after.get(number, 0.0) + share * part
                else:
                    number = self._push(pushed, below)
                    after[number] = after.get(number, 0.0) + share
        if total <= 0.0:
            return -np.inf, START
        if token == END:
            return float(np.log(total)), START
        return float(np.log(total)), self._state({stack: weight / total for stack, weight in after.items()})

    def _push(self, symbols: tuple[int, ...], number: int) -> int:
        """The stack with ``symbols`` on top of stack ``number``."""
        for symbol in reversed(symbols):
            key = (symbol, number)
            known = self._stack_ids.get(key)
            if known is None:
                known = self._stack_ids[key] = len(self._stacks)
                self._stacks.append(key)
            number = known
        return number

    def _state(self, weights: dict[int, float]) -> int:
        """The number of a state; states that agree to twelve digits are one."""
        content = sorted(weights.items())
        key = blake2b(
            " ".join([f"{stack}:{weight:.12e}" for stack, weight in content]).encode(), digest_size=16
        ).digest()
        number = self._state_ids.get(key)
        if number is None:
            number = self._state_ids[key] = len(self._states)
            self._states.append(content)
            self._edges.append({})
            self._held += len(content)
        return number

    def _moves_of(self, symbol: int, first: bool) -> Moves:
        """Which tokens ``symbol`` can begin with: token -> (probability, what is left of it to rewrite)."""
        table = self._first if first else self._moves
        if symbol not in table:
            moves: Moves = {}
            for corner, rests in self._grouped(symbol).items():
                mass = sum(weight for weight, _ in rests)
                for token, found in table[corner].items():
                    known = moves.setdefault(token, [])
                    for probability, pushed in found:
                        if pushed and len(rests) > 1:  # inside a word they need not be told apart
                            known.append((mass * probability, (*pushed, self._choice(rests, mass))))
                        else:
                            known.extend((weight * probability, pushed + rest) for weight, rest in rests)
            table[symbol] = moves
        return table[symbol]

    def _choice(self, rests: list[tuple[float, tuple[int, ...]]], mass: float) -> int:
        """The symbol that stands below a word for the ways in which the sentence goes on behind it."""
        key = tuple((weight / mass, rest) for weight, rest in rests)
        if key not in self._choice_ids:
            self._choice_ids[key] = self._symbols + len(self._choices)
            self._choices[self._choice_ids[key]] = key
        return self._choice_ids[key]

    def _grouped(self, symbol: int) -> dict[int, list[tuple[float, tuple[int, ...]]]]:
        """The corners of ``symbol``, each with all that can follow it."""
        groups: dict[int, list[tuple[float, tuple[int, ...]]]] = {}
        for (corner, rest), weight in self._corners_of(symbol).items():
            groups.setdefault(corner, []).append((weight, rest))
        return groups

    def _corners_of(self, symbol: int) -> dict[tuple[int, tuple[int, ...]], float]:
        """The preterminals that ``symbol`` can begin with, what follows them, and how probable that is."""
        if symbol not in self._rules:
            return {(symbol, ()): 1.0}
        if symbol not in self._corners:
            corners: dict[tuple[int, tuple[int, ...]], float] = {}
            for right, probability in self._rules[symbol]:
                for (corner, rest), weight in self._corners_of(right[0]).items():
                    key = (corner, rest + right[1:])
                    corners[key] = corners.get(key, 0.0) + probability * weight
            self._corners[symbol] = corners
        return self._corners[symbol]

    def _spell(self, table: dict[int, Moves], root: int, entries: list[tuple[tuple[int, ...], float]], new: int) -> int:
        """Fill in the moves of a preterminal and of the nodes below it, numbered from ``new`` on.

        ``entries``: the tokens still to come of each word, and its probability. A word that ends where a longer
        one goes on gives two moves: one that leaves nothing and one that leaves the node.
        """
        mass = sum(probability for _, probability in entries)
        groups: dict[int, list[tuple[tuple[int, ...], float]]] = {}
        for tokens, probability in entries:
            groups.setdefault(tokens[0], []).append((tokens[1:], probability))
        moves = table[root] = {}
        for token, rest in groups.items():
            longer = [(tokens, probability) for tokens, probability in rest if tokens]
            ending = sum(probability for tokens, probability in rest if not tokens)
            found: list[tuple[float, tuple[int, ...]]] = [(ending / mass, ())] if ending else []
            if longer:
                node, new = new, new + 1
                found.append((sum(probability for _, probability in longer) / mass, (node,)))
                # What a node continues is the same at the opening of a sentence and elsewhere.
                new = self._spell(self._moves, node, longer, new)
            moves[token] = found
        return new
