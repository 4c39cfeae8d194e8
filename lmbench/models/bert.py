"""Ids, some of them hidden -> self-attention to both sides -> log probabilities of what is hidden: a small BERT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lmbench.corpus.batches import Batch
from lmbench.corpus.words import word_openings
from lmbench.errors import ModelError, UsageError
from lmbench.models.masking import hide, in_parts, masked_copies, spread
from lmbench.models.transformer import Transformer, TransformerConfig, TransformerNetwork

CELLS = {"cpu": 1 << 12, "cuda": 1 << 17, "mps": 1 << 16}
"""Tokens (copies times their length) that are read at once in scoring: as many as suit the caches, or fill the card."""


@dataclass(frozen=True)
class BERTConfig(TransformerConfig):
    """``sequence_length`` is the window: events of a training row, and the most tokens of a sentence that are seen
    at once. Dropout falls on the embedding and on each residual branch."""

    masked: float | None = None
    """Share of tokens that are drawn to be hidden in training, and with each what follows it in its word."""
    within_word: bool = True
    """Whether, where a word is several tokens, those that follow the asked one are hidden too (Kauf & Ivanova 2023);
    otherwise each token is hidden alone (Salazar et al. 2020)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.masked is not None and not 0 < self.masked < 1:
            raise UsageError(f"masked must be above 0 and below 1, not {self.masked}. BERT hides 0.15.")


class BERTNetwork(TransformerNetwork):
    """Embedding, ``layers`` blocks that look to both sides, a last norm, the tied softmax.

    A hidden token is an id of its own, V, which can be read but never predicted: its embedding is ``mask``.
    ``masked``: the rate of hiding; ``opens``: bool (V,), which types open a word.
    """

    opens: Tensor
    replayable = False  # how many tokens are hidden differs from step to step

    def __init__(self, config: BERTConfig, opens: np.ndarray) -> None:
        window, width = config.sequence_length or 0, config.width or 0
        # the boundaries of a row are written twice in training: at most as many again as there are tokens
        super().__init__(len(opens), config, 2 * window + 2, causal=False)
        self.window, self.masked = window, config.masked
        self.mask = nn.Parameter(torch.randn(width) * width**-0.5)
        self.register_buffer("opens", torch.from_numpy(opens), persistent=False)

    def forward(self, ids: Tensor, visible: Tensor | None = None, asked: Tensor | None = None) -> tuple[Tensor, None]:
        """int64 (B, T), V where a token is hidden -> float (B, T, E). ``visible``: bool (B, T, T), None for all;
        ``asked``: int64 (B,), the one place of each row whose state is wanted: then (B, 1, E)."""
        size = len(self.bias)
        embedded = self.embed(ids.clamp(max=size - 1))  # (B, T, E)
        return self.transform(torch.where((ids == size)[:, :, None], self.mask, embedded), visible, asked), None

    def loss(self, rows: Tensor, state: Any = None) -> tuple[Tensor, None]:
        """int64 (B, L + 1) -> mean loss over what is hidden of the rows, nats. A token sees its own sentence only."""
        spaced = spread(rows)
        hidden, asked = hide(spaced, self.opens, self.masked if torch.is_grad_enabled() else None)
        alone = spaced.sentence.amax() == 0
        visible = None if alone else spaced.sentence[:, :, None] == spaced.sentence[:, None, :]
        states, _ = self.read(spaced.ids.masked_fill(hidden, len(self.bias)), visible)
        return self.cross_entropy(states[asked], spaced.ids[asked]), None  # of (N, E) and (N,)


class BERT(Transformer):
    """A masked language model: a Transformer that predicts hidden words from both sides (Devlin et al. 2019).

    In training, a share of the tokens is replaced by a mask, other ones at each step (Liu et al. 2019), never by
    random words (Wettig et al. 2023), and the loss is ``-ln p(w_t | what is not hidden)`` over those. There is no
    prediction of the next sentence: it did not help (Liu et al. 2019). Where a step is divided, by accumulation or
    among processes, its parts weigh as their rows, not as what is hidden of them.

    A text has a pseudo-log-likelihood (Salazar et al. 2020): each token is hidden in turn, and
    ``PLL(w) = sum over t of ln p(w_t | w without t)``; within a word of several tokens also without those after t
    (Kauf & Ivanova 2023). It ranks sentences well, but it is no log probability: each token is told by what
    follows it, and the end of a sentence by its length, so that ``exp(-PLL / events)``, the pseudo-perplexity, is far
    below any perplexity and stands beside other pseudo-perplexities only.

    >>> BERT(BERTConfig(width=64)).reads
    'both'
    """

    kind = "bert"
    Config = BERTConfig
    reads = "both"  # type: ignore[assignment]
    context = "sentence"  # type: ignore[assignment]
    normalized = False

    def predicted(self, fine: bool) -> float:
        return self.config.masked or (0.15 if fine else 0.4)

    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        own = {"batch_size": 8, "sequence_length": 128, "masked": self.predicted(fine)}
        return {**super().usual(fine, width, passes), **own}

    def build(self, vocabulary_size: int) -> BERTNetwork:
        config = self.config
        self.structure = (
            f"BERT, {config.layers} x {config.width}, {config.heads} heads, window {config.sequence_length}, "
            f"{config.masked:.0%} drawn to be hidden, dropout {config.dropout:g}"
        )
        self.opens = word_openings(self.tokenizer) if config.within_word else np.ones(vocabulary_size, bool)
        return BERTNetwork(config, self.opens)

    @torch.inference_mode()
    def log_probs(self, batch: Batch) -> np.ndarray:
        """float32 (B, T), nats: ln p of each target, it and what follows in its word being hidden; 0 elsewhere."""
        network = self._fitted().eval()
        ids = torch.from_numpy(batch.ids).to(self.device)
        result = torch.zeros(batch.ids.shape, dtype=torch.float32, device=self.device)
        for copies in in_parts(masked_copies(batch, self.opens, network.window or 1), CELLS[self.device.type]):
            row, column, start, length, hidden_to = (torch.from_numpy(part).to(self.device) for part in copies)
            columns = start[:, None] + torch.arange(int(length[0]), device=self.device)  # (N, length)
            hidden = (columns >= column[:, None]) & (columns <= hidden_to[:, None])
            seen = ids[row[:, None], columns].masked_fill(hidden, len(network.bias))
            states, _ = network(seen, asked=column - start)  # (N, 1, E)
            result[row, column] = network.log_probs_of(states[:, 0], ids[row, column])
        return result.cpu().numpy()

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """Refused: raises ModelError."""
        raise ModelError(
            f"{self.kind} was asked for the next token, but it reads both sides of a gap and knows no distribution of "
            "what follows a text. Score or rank whole sentences with it, or ask a model that reads to the left, such "
            "as ngram, lstm or gpt."
        )
