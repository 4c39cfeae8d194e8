"""What one model came to: ``Result``, a row of ``table.csv`` and an entry of ``metrics.json``."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self

Status = Literal["done", "failed"]
Key = tuple[str, int | None, int | None]
"""Model, seed and training size: what tells the rows of a run apart."""


@dataclass(frozen=True)
class Result:
    """One model with one seed: a row of ``table.csv``, whose columns are these fields in this order.

    None where a number does not apply or could not be had; it is an empty cell in the table.
    """

    model: str
    """The model as it was asked for."""
    seed: int | None
    """None for a model that draws no random numbers."""
    perplexity: float | None = None
    """Of the test split; None for what is no distribution, or learns from that text."""
    perplexity_low: float | None = None
    perplexity_high: float | None = None
    """95 % bootstrap interval over the segments of the test split."""
    excess_over_source: float | None = None
    """Nats per event above the source of a generated corpus: an estimate of the relative entropy
    (Kullback-Leibler divergence) from the true distribution to the model. 0 is perfect; exp of it is the
    factor between the two perplexities."""
    bits_per_character: float | None = None
    bits_per_byte: float | None = None
    events: int | None = None
    """Predicted tokens of the test split, boundaries included."""
    unknown_rate: float | None = None
    """Share of them that is <unk>, in [0, 1]."""
    ranking_accuracy: float | None = None
    """Share of the candidate sets whose right sentence leads; ties count in part."""
    parameters: int | None = None
    """Trained numbers, or stored n-grams."""
    train_seconds: float | None = None
    """Wall seconds inside fit, interruptions left out."""
    peak_memory_mib: float | None = None
    """Largest resident memory of the whole process while the model was trained and scored: interpreter,
    libraries and corpus included."""
    train_tokens_per_second: float | None = None
    score_tokens_per_second: float | None = None
    signature: str = ""
    """The settings without which the numbers mean nothing."""
    mean_reciprocal_rank: float | None = None
    ranking_sets: int | None = None
    """Candidate sets with an answer."""
    ranking_low: float | None = None
    ranking_high: float | None = None
    """95 % Wilson interval of the accuracy."""
    ranking_by: str = ""
    """What decides: the total log probability, or that per token."""
    nats_per_event: float | None = None
    adaptive_perplexity: float | None = None
    """Of a model that learns from the test split while it is scored, as a cache does: comparable with its like."""
    adaptive_perplexity_low: float | None = None
    adaptive_perplexity_high: float | None = None
    """95 % bootstrap interval of it."""
    pseudo_perplexity: float | None = None
    """The formula of the perplexity where the scores are no distribution: comparable with nothing else."""
    valid_perplexity: float | None = None
    epochs: float | None = None
    """Passes over the training split."""
    stopped: str = ""
    """Why training ended: budget, early-stop or closed-form."""
    device: str = ""
    precision: str = ""
    peak_device_memory_mib: float | None = None
    """The same on the accelerator, where one is used: the largest sum of what was in use there."""
    memory_added_mib: float | None = None
    """Of the peak, what came on top of what the process held when this model began: libraries, corpus, and what models
    before have left are not in it."""
    comparison: str = ""
    """Rows may be ranked against each other where this is equal: they predict the same events."""
    kind: str = ""
    """The family; ``source`` is the floor that nobody can beat."""
    specification: str = ""
    """Every setting in which the model differs from the family's defaults, automatic choices included."""
    folder: str = ""
    """Name under models/ and scores/."""
    status: Status = "done"
    reason: str = ""
    """Why it failed, in one line."""
    published: float | None = None
    """What a paper states of this model, where the recipe repeats one: by default a test perplexity; details tell."""
    measured: float | None = None
    """What this run came to in the unit and on the split of the published figure."""
    train_tokens: int | None = None
    """Tokens of the training split that it was trained on, where the run compares training sizes."""
    details: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What metrics.json holds beyond the table: signature, sums, accuracies by phenomenon."""

    @property
    def key(self) -> Key:
        """What tells the rows of a run apart."""
        return (self.model, self.seed, self.train_tokens)

    @property
    def sized(self) -> str:
        """The model, with its training size where the run compares these; the same for all its seeds."""
        return self.model if self.train_tokens is None else f"{self.model} ({self.train_tokens:,} tokens)"

    @property
    def label(self) -> str:
        """The model, with its seed where the run trains it with several (its folder tells), and its training size."""
        told = [f"seed {self.seed}"] if self.folder.endswith(f".seed{self.seed}") else []
        told += [] if self.train_tokens is None else [f"{self.train_tokens:,} tokens"]
        return f"{self.model} ({', '.join(told)})" if told else self.model

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return plain(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """The result with these fields; unknown ones, of a later version, are left out."""
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: _number(value) for key, value in content.items() if key in known})


COLUMNS = tuple(field.name for field in dataclasses.fields(Result) if field.name != "details")


def plain(value: Any) -> Any:
    """``value`` as JSON values. JSON knows no infinity: it is written as a text, which ``float`` reads back."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and value in ("inf", "-inf", "nan") else value
