"""Plots of breakdowns: the bins in their order, what is no number apart."""

from __future__ import annotations

from lmbench.report.breakdowns import Bin, Breakdown
from lmbench.report.drawing import styles
from lmbench.report.profiles import profiles


def bins(*names: str) -> tuple[Bin, ...]:
    return tuple(Bin(name, 10, 0.1, 0.1, 5.0 + i, 4.5 + i, 5.5 + i) for i, name in enumerate(names))


def broken_down(label: str) -> Breakdown:
    frequency = bins("unseen", "1-9", "1,000-9,999", "<unk>", "end of sentence")
    return Breakdown(label, frequency, bins("1-5", "6 or more"), (), {})


def test_each_breakdown_with_bins_has_a_plot() -> None:
    found = profiles([broken_down("gpt"), broken_down("ngram")], styles(["gpt", "ngram"]), "document")
    assert [plot.name for plot in found] == ["by_frequency", "by_length"]
    assert "length of the document" in found[1].caption
    for name in ("unseen", "1–9", "1k–10k", "&lt;unk&gt;", ">end<", "gpt"):
        assert name in found[0].svg
    assert profiles([], {}, "sentence") == []


def test_many_models_are_drawn_without_intervals() -> None:
    labels = [f"m{number}" for number in range(9)]
    (plot, _) = profiles([broken_down(label) for label in labels], styles(labels), "sentence")
    assert "interval" not in plot.caption
