"""Learning curves over training text: who is better where, in numbers, words and a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lmbench.benchmark.results import Result, RunFolder
from lmbench.report.page import page
from lmbench.report.plots import write_plots
from lmbench.report.power_law import PowerLaw
from lmbench.report.scaling import at_largest, crossings, curves, matrix, notes, sentences, with_intervals
from lmbench.report.scaling_plot import sized_styles, train_sizes
from lmbench.report.summary import summarize
from lmbench.report.tables import groups, size_tables, to_latex, to_markdown, write_tables
from lmbench.report.tables import notes as table_notes

Loss = Callable[[int], float]


def made(model: str, size: int | None, nats: float, **fields: object) -> Result:
    known = {"comparison": "one", "kind": "toy", "signature": f"ppl|{model}", "folder": f"{model}.{size}", **fields}
    perplexity = math.exp(nats) if nats < 700 else math.inf
    return Result(model, None, perplexity, nats_per_event=nats, train_tokens=size, **known)  # type: ignore[arg-type]


def measured(losses: dict[str, list[float]], sizes: tuple[int, ...] = (1000, 10_000, 100_000)) -> list[Result]:
    """Nats per event of each model at each size, in the order of a run."""
    return [made(model, size, nats[number]) for number, size in enumerate(sizes) for model, nats in losses.items()]


TWO = measured({"ngram": [6.0, 5.0, 4.5], "gpt": [7.0, 5.5, 4.0]})


# Crossings -------------------------------------------------------------------------------------------


def test_where_two_curves_cross_between_two_sizes() -> None:
    """gpt is behind by 0.5 nats at 10,000 tokens and ahead by 0.5 at 100,000: they meet half way in the logarithm, at
    10^4.5 = 31,623, where both have (5.0 + 4.5) / 2 = 4.75 nats."""
    (crossing,) = crossings(curves(TWO))
    assert (crossing.below, crossing.above, crossing.measured) == ("ngram", "gpt", True)
    assert crossing.tokens == pytest.approx(10**4.5)
    assert crossing.perplexity == pytest.approx(math.exp(4.75))
    assert str(crossing) == "ngram is better up to about 32,000 tokens, gpt beyond."


def test_equal_at_a_size_and_then_apart() -> None:
    (crossing,) = crossings(curves(measured({"a": [6.0, 5.0, 4.0], "b": [7.0, 5.0, 3.0]})))
    assert (crossing.below, crossing.above) == ("a", "b")
    assert crossing.tokens == pytest.approx(10_000)
    touching = measured({"a": [6.0, 5.0, 4.0], "b": [7.0, 5.0, 4.5]})
    assert not crossings(curves(touching)), "they meet, and do not change places"


def test_two_that_change_places_twice() -> None:
    met = crossings(curves(measured({"a": [6.0, 5.0, 4.0], "b": [5.5, 5.5, 3.5]})))
    assert [(crossing.below, crossing.above) for crossing in met] == [("b", "a"), ("a", "b")]
    assert [crossing.tokens for crossing in met] == pytest.approx([10**3.5, 10**4.5])


def test_a_crossing_beyond_what_was_measured_is_a_guess_of_the_laws() -> None:
    """5 D^-0.1 x 2 and 10 D^-0.2 x 2.5 nats: equal where D^0.1 = 25 / 10, D = 2.5^10 = 9,537."""
    laws = {"slow": PowerLaw(0.0, 10.0, 0.1), "fast": PowerLaw(0.0, 25.0, 0.2)}
    sizes = (1000, 2000, 4000)
    results = measured({name: [law.nats(size) for size in sizes] for name, law in laws.items()}, sizes)
    (crossing,) = crossings(curves(results))
    assert (crossing.below, crossing.above, crossing.measured) == ("slow", "fast", False)
    assert crossing.tokens == pytest.approx(2.5**10, rel=0.01)
    assert "a guess from the fitted laws" in str(crossing)
    early = [result for result in results if result.train_tokens != 4000] + [
        made(name, 500, law.nats(500)) for name, law in laws.items()
    ]
    assert len(crossings(curves(early))) == 1, "2,000 tokens are as far as a tenth of it"
    earlier = measured(
        {name: [law.nats(size) for size in (100, 200, 400)] for name, law in laws.items()}, (100, 200, 400)
    )
    assert not crossings(curves(earlier)), "so far is not guessed"


@pytest.mark.parametrize(
    "losses",
    [
        {"a": [5.0, 4.5, 4.2], "b": [5.0, 4.5, 4.2]},
        {"a": [5.0, 5.0, 5.0], "b": [6.0, 6.0, 6.0]},
        {"a": [math.inf, math.inf, math.inf], "b": [5.0, 4.5, 4.0]},
        {"a": [math.inf, 4.0, 3.5], "b": [5.0, 4.5, 4.0]},
    ],
    ids=["equal", "flat", "infinite", "infinite at first"],
)
def test_where_nothing_crosses(losses: dict[str, list[float]]) -> None:
    found = curves(measured(losses))
    assert not crossings(found)
    assert "The order of the models is the same at every training size." in sentences(found)


def test_only_what_predicts_the_same_events_is_compared() -> None:
    other = [made("gpt", size, nats, comparison="two") for size, nats in ((1000, 7.0), (10_000, 5.5), (100_000, 4.0))]
    ngram = [result for result in TWO if result.model == "ngram"]
    assert not crossings(curves([*ngram, *other]))
    adaptive = [
        Result("cache", None, adaptive_perplexity=math.exp(n), nats_per_event=n, comparison="one", train_tokens=size)
        for size, n in ((1000, 7.0), (10_000, 5.5), (100_000, 4.0))
    ]
    found = curves([*ngram, *adaptive])
    assert [curve.measure for curve in found] == ["perplexity", "adaptive_perplexity"]
    assert not crossings(found)
    assert matrix(found)[1][1][0] == "cache (adaptive)"


# Curves and tables -----------------------------------------------------------------------------------


def test_seeds_are_one_curve_of_their_mean() -> None:
    seeds = [made("gpt", 1000, nats, folder=f"gpt.1000.seed{seed}") for seed, nats in ((1, 5.0), (2, 6.0))]
    (curve,) = curves([*seeds, made("gpt", 2000, 4.0)])
    assert curve.tokens.tolist() == [1000, 2000]
    assert curve.nats.tolist() == [5.5, 4.0]
    assert "geometric means over seeds" in notes([*seeds, made("gpt", 2000, 4.0)])[0]


def test_results_without_a_size_have_no_curve() -> None:
    results = [made("gpt", None, 5.0), Result("broken", None, train_tokens=1000, status="failed")]
    assert curves(results) == []
    assert notes(results) == []
    assert size_tables(results) == []
    assert scaling_notes_in(table_notes(results)) == []


def scaling_notes_in(found: list[str]) -> list[str]:
    return [note for note in found if "training size" in note]


def test_the_table_has_a_column_for_each_size_and_marks_the_best_of_each() -> None:
    results = [*TWO, made("gpt", 1_000_000, 3.5), made("source", None, 3.0, kind="source")]
    (table,) = size_tables(results)
    assert table.headings == ("model", "1,000", "10,000", "100,000", "1,000,000")
    # exp(6) = 403.43, exp(5) = 148.41, exp(4.5) = 90.02; exp(7) = 1096.63, exp(5.5) = 244.69, exp(4) = 54.60
    assert table.cells == (
        ("ngram", "403.43", "148.41", "90.02", ""),
        ("gpt", "1,096.63", "244.69", "54.60", "33.12"),
    )
    assert table.best == {(0, 1), (0, 2), (1, 3)}, "alone at a size, nobody is the best"
    found = groups(results)
    assert [[result.model for result in group.results] for group in found] == [
        ["source", "ngram", "gpt"], ["source", "ngram", "gpt"], ["source", "gpt", "ngram"], ["source", "gpt"],
    ]  # fmt: skip
    text = to_markdown(results)
    assert text.startswith("Perplexity by tokens of training text.")
    assert "| model | 1,000 | 10,000 | 100,000 | 1,000,000 |" in text
    assert "ngram (10,000 tokens)" in text
    assert "ngram is better up to about 32,000 tokens, gpt beyond." in text
    assert "predicted all the same, not hidden in <unk>" in text
    assert "do not predict the same events" not in text
    assert r"ngram & \textbf{403.43} & \textbf{148.41} & 90.02 &" in to_latex(results)


def test_one_size_is_no_curve(tmp_path: Path) -> None:
    results = measured({"ngram": [5.0], "gpt": [6.0]}, (1000,))
    assert len(notes(results)) == 1, "how the size was chosen, and nothing that one point could show"
    assert train_sizes(run_with(tmp_path, results), results, sized_styles(results)) == []


# Words, picture, page --------------------------------------------------------------------------------


def run_with(tmp_path: Path, results: list[Result]) -> RunFolder:
    """A run of three sentences, 2, 3 and 5 events long; a model loses as much on each event."""
    folder = RunFolder(tmp_path)
    folder.create()
    folder.write_results({}, results)
    for result in results:
        lines = ["unit\tnats\tevents\tunknowns\twords\tcharacters\tbytes"]
        for unit, events in enumerate((2, 3, 5)):
            lines.append(f"{unit}\t{(result.nats_per_event or 0) * events}\t{events}\t0\t1\t5\t5")
        folder.scores(result.folder).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


FLAGS = {"details": {"test": {"lossless": True, "normalized": True}}}


def test_the_interval_of_an_exponent_is_over_sentences(tmp_path: Path) -> None:
    """Every event of ngram has the same loss, so that no draw of sentences changes it; broken's scores are lost."""
    law = PowerLaw(0.0, 12.0, 0.1)
    results = [
        made(name, size, law.nats(size), **FLAGS) for size in (1000, 10_000, 100_000) for name in ("ngram", "lost")
    ]
    folder = run_with(tmp_path, results)
    folder.scores("lost.1000").unlink()
    ngram, lost = with_intervals(folder, curves(results))
    assert ngram.law is not None
    assert (ngram.law.exponent_low, ngram.law.exponent_high) == pytest.approx((0.1, 0.1), rel=0.001)
    assert lost.law is not None
    assert lost.law.exponent_low is None
    told = sentences([ngram, lost])[-1]
    assert "ngram 12 / D^0.100 (residual 0.0%, exponent 0.100 to 0.100); lost 12 / D^0.100 (residual 0.0%)." in told


def test_the_picture_is_written_and_the_same_each_time(tmp_path: Path) -> None:
    run_with(tmp_path, [*TWO, made("broken", 1000, math.inf), made("broken", 10_000, math.inf)])
    svg, png, *others = write_plots(tmp_path)
    assert (svg.name, png.name) == ("train_sizes.svg", "train_sizes.png")
    assert {path.name for path in others} == {"perplexity.svg", "perplexity.png"}, "of the largest size, once"
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    text = svg.read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert all(word in text for word in (">ngram<", ">gpt<", "test perplexity", "tokens of training text"))
    assert "broken" not in text, "what is infinite has no place"
    before = svg.read_bytes(), png.read_bytes()
    write_plots(tmp_path)
    assert (svg.read_bytes(), png.read_bytes()) == before
    write_tables(tmp_path)
    assert "gpt beyond" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_a_model_looks_alike_at_all_sizes() -> None:
    drawn = sized_styles(TWO)
    looks = {(label.partition(" ")[0], look.color, look.marker) for label, look in drawn.items()}
    assert len(drawn) == 6
    assert len(looks) == 2
    assert drawn["gpt (1,000 tokens)"].name == "gpt (1,000 tokens)"


def test_the_page_shows_the_curves_and_sums_up_the_largest_size(tmp_path: Path) -> None:
    folder = run_with(tmp_path, TWO)
    assert {result.train_tokens for result in at_largest(TWO)} == {100_000}
    told = summarize(TWO)
    assert told.sentences[0].startswith("Of the two models, gpt (100,000 tokens) predicts the test text better")
    assert told.asides == ("ngram is better up to about 32,000 tokens, gpt beyond.",)
    text = page(folder)
    assert "How much text each needs" in text
    assert "Perplexity by tokens of training text." in text
    assert text.count("ngram is better up to about 32,000 tokens, gpt beyond.") >= 3, "summary, notes and caption"
    assert "predict different events" not in text


def test_the_sizes_are_explained_once_and_the_laws_written_out() -> None:
    told = notes(TWO)
    assert len(scaling_notes_in(told)) == 1
    assert "ngram is better up to about 32,000 tokens, gpt beyond." in told
    # Three sizes a decade apart: the exponent of ngram is about log10(6 / 4.5) / 2 = 0.062.
    assert any("ngram 9.115 / D^0.062" in sentence for sentence in told), told
