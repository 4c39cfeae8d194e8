"""Runs on disk -> pairs and letters: what is compared, what is not and why, and how it looks in the tables."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from lmbench.benchmark.results import RunFolder
from lmbench.errors import ResultsError
from lmbench.report.accuracies import compare_accuracies, read_credits
from lmbench.report.characters import compare_characters
from lmbench.report.comparison import compare_runs, compared, comparisons, letters
from lmbench.report.events import differing_parts
from lmbench.report.tables import to_latex, to_markdown, write_tables
from tests.report.conftest import MakeRun

GENERATOR = np.random.default_rng(1)
BASE = GENERATOR.gamma(20, 2, 100)
WORSE = BASE + GENERATOR.normal(5, 1, 100)
LIKE = BASE + GENERATOR.normal(0, 1, 100)


def test_pairs_in_bits_per_event(make_run: MakeRun) -> None:
    found = comparisons(make_run("run", {"worse": WORSE, "base": BASE}, bits_per_character=1.0))
    (pair,) = found
    assert (pair.first, pair.second) == ("base", "worse")
    assert pair.difference == pytest.approx((BASE.sum() - WORSE.sum()) / 1000 / math.log(2))
    assert pair.first_value - pair.second_value == pytest.approx(pair.difference)
    assert pair.low < pair.difference < pair.high < 0
    assert pair.p == 1 / 10001
    assert pair.verdict == "base is better"
    assert pair.segments == 100
    assert pair.events_per_character == 1000 / 5000


def test_letters_of_a_run(make_run: MakeRun) -> None:
    folder = make_run("run", {"worse": WORSE, "like": LIKE, "base": BASE})
    assert letters(folder) == {"base": "a", "like": "a", "worse": "b"}
    assert letters(folder.path) == letters(str(folder.path))


def test_the_letters_stand_in_every_table(make_run: MakeRun) -> None:
    folder = make_run("run", {"worse": WORSE, "like": LIKE, "base": BASE})
    write_tables(folder.path)
    with folder.table.open(encoding="utf-8", newline="") as file:
        assert [row["alike"] for row in csv.DictReader(file)] == ["b", "a", "a"]
    results, marks = folder.read_results(), compared(folder)
    markdown = (folder.path / "table.md").read_text(encoding="utf-8")
    assert markdown == to_markdown(results, marks)
    assert "| alike |" in markdown
    assert "not distinguishable by perplexity on this text" in markdown
    assert "(100 segments, paired permutation test, 3 pairs corrected by Holm, 5 % level" in markdown
    assert "& alike" in to_latex(results, marks)
    assert "alike" not in to_markdown(results), "without sums there are no letters"


def test_other_events_are_never_compared_and_the_reason_is_told(make_run: MakeRun) -> None:
    one = make_run("one", {"base": BASE, "worse": WORSE})
    two = make_run(
        "two",
        {"chars": BASE},
        comparison="two",
        signature={"unit": "char", "vocabulary": 97, "vocabulary_sha256": "dd"},
    )
    found = compare_runs([one, two])
    assert {(pair.first, pair.second) for pair in found.pairs} == {("one/base", "one/worse")}
    assert found.reasons == (
        "two/chars cannot be compared with one/base, one/worse: the events differ in tokenizer (word and char); "
        "vocabulary (10,000 types@bbbb and 97 types@dd).",
    )


@pytest.mark.parametrize(
    ("signature", "line", "told"),
    [
        ({"corpus": "moon", "corpus_sha256": "ffffffffff"}, "sentence", "text (world@aaaaaaa and moon@fffffff)"),
        ({"split": "valid"}, "sentence", "split (test and valid)"),
        ({"events": 900, "events_sha256": "ee"}, "text", "end of sentence (an event; no event, text runs on)"),
        ({"events": 900, "events_sha256": "ee"}, "sentence", "tokens (1,000 and 900 events, or others)"),
    ],
)
def test_what_differs_is_named(make_run: MakeRun, signature: dict, line: str, told: str) -> None:
    one = make_run("one", {"base": BASE})
    two = make_run("two", {"base": BASE}, comparison="two", signature=signature, line=line)
    assert compare_runs([one, two]).reasons[0].endswith(f"the events differ in {told}.")
    assert differing_parts(one.read_results()[0], one.read_results()[0]) == []


def test_the_tables_say_what_differs(make_run: MakeRun) -> None:
    one = make_run("one", {"base": BASE})
    two = make_run("two", {"byte": BASE}, comparison="two", signature={"unit": "byte"})
    text = to_markdown([*one.read_results(), *two.read_results()])
    assert "What differs: tokenizer (word and byte)." in text


def test_models_of_several_runs_meet_where_their_events_agree(make_run: MakeRun) -> None:
    one, two = make_run("one", {"base": BASE}), make_run("two", {"base": WORSE})
    (pair,) = compare_runs([one, two]).pairs
    assert (pair.first, pair.second) == ("one/base", "two/base")
    assert pair.differ


def test_what_adapts_is_compared_with_its_like_only(make_run: MakeRun) -> None:
    adaptive = {"perplexity": None, "adaptive_perplexity": 9.0}
    special = {"cache": adaptive, "dynamic": {**adaptive, "adaptive_perplexity": 8.0}}
    folder = make_run("run", {"base": BASE, "worse": WORSE, "cache": BASE, "dynamic": WORSE}, special=special)
    found = compared(folder)
    assert {(pair.first, pair.second) for pair in found.pairs} == {("base", "worse"), ("cache", "dynamic")}
    assert found.letters == {"base": "a", "worse": "b", "cache": "c", "dynamic": "d"}
    assert any("learns from the text it is asked about: cache, dynamic." in reason for reason in found.reasons)


def test_scores_that_are_no_distribution(make_run: MakeRun) -> None:
    pseudo = {"perplexity": None, "pseudo_perplexity": 9.0}
    folder = make_run("run", {"base": BASE, "worse": WORSE, "backoff": BASE}, special={"backoff": pseudo})
    assert "backoff" not in letters(folder)
    assert any("backoff gives scores that are no distribution" in reason for reason in compared(folder).reasons)
    both = make_run("both", {"bert": BASE, "bert2": WORSE}, signature={"reads": "both"}, **pseudo)
    assert letters(both) == {"bert": "a", "bert2": "b"}
    assert any("reads both sides" in reason for reason in compared(both).reasons)


def test_what_rules_a_token_out(make_run: MakeRun) -> None:
    folder = make_run("run", {"mle": np.where(np.arange(100) == 3, np.inf, BASE), "base": BASE, "worse": WORSE})
    assert set(letters(folder)) == {"base", "worse"}
    assert any("mle gives a token of the text probability 0" in reason for reason in compared(folder).reasons)


def test_missing_sums_lose_one_model_only(make_run: MakeRun) -> None:
    folder = make_run("run", {"gone": BASE, "base": BASE, "worse": WORSE})
    folder.scores("gone").unlink()
    assert set(letters(folder)) == {"base", "worse"}
    assert any("gone is not compared" in reason and "--resume" in reason for reason in compared(folder).reasons)
    with pytest.raises(ResultsError, match="not the folder of a run"):
        comparisons(folder.path / "nowhere")


def test_a_text_of_one_segment_or_other_segments(make_run: MakeRun) -> None:
    assert letters(make_run("run", {"base": BASE[:1], "worse": WORSE[:1]})) == {}
    one = make_run("one", {"base": BASE})
    two = make_run("two", {"worse": WORSE[:50]}, events=np.full(50, 20))
    assert any("cut into other segments" in reason for reason in compare_runs([one, two]).reasons)


def test_few_segments_are_told(make_run: MakeRun) -> None:
    few = make_run("few", {"base": BASE[:12], "worse": WORSE[:12]})
    assert any("12 effective ones" in note for note in compared(few).cautions)
    assert not any("effective" in note for note in compared(make_run("many", {"base": BASE, "worse": WORSE})).cautions)


def test_seeds_are_compared_by_their_mean(make_run: MakeRun) -> None:
    seeds = {1: WORSE - 0.4, 2: WORSE, 3: WORSE + 0.4}
    folder = make_run("run", {"lstm": seeds, "base": BASE, "gru": {1: WORSE}})
    found = compared(folder)
    assert set(found.letters) == {"lstm (seed 1)", "lstm (seed 2)", "lstm (seed 3)", "base", "gru"}
    assert len({found.letters[f"lstm (seed {seed})"] for seed in (1, 2, 3)}) == 1
    pair = next(pair for pair in found.pairs if {pair.first, pair.second} == {"base", "lstm"})
    assert pair.test == "seeds and segments"
    assert sorted(pair.seeds) == [1, 3]
    assert any("mean over seeds" in note and note.endswith("lstm.") for note in found.cautions)
    assert any("One training stands for gru" in note for note in found.cautions)


def test_it_is_computed_once(make_run: MakeRun) -> None:
    folder = make_run("run", {"base": BASE, "worse": WORSE})
    assert compared(folder) is compared(RunFolder(folder.path))
    make_run("run", {"base": BASE, "worse": WORSE, "like": LIKE})
    assert len(compared(folder).pairs) == 3


def write_ranking(folder: RunFolder, places: dict[str, list[tuple[float, float]]], text: str = "句子") -> None:
    """``places``: model -> for each set the places of the right and of the wrong candidate."""
    for result in folder.read_results():
        rows = [
            (number, "swap", candidate, int(candidate == 0), place, -1.0, -1.0, 3, f"{text} {number} {candidate}")
            for number, pair in enumerate(places[result.model])
            for candidate, place in sorted(enumerate(pair), key=lambda one: one[1])
        ]
        folder.write_candidates(result, rows)


RIGHT, WRONG, TIED = (1.0, 2.0), (2.0, 1.0), (1.5, 1.5)


def test_rankings_by_mcnemar(make_run: MakeRun) -> None:
    folder = make_run("run", {"good": BASE, "bad": WORSE}, ranking_accuracy=0.5)
    write_ranking(folder, {"good": [RIGHT] * 9 + [TIED], "bad": [WRONG] * 6 + [RIGHT] * 3 + [RIGHT]})
    (pair,), reasons = compare_accuracies([folder])
    # the good one is right where the bad one is wrong in 6 sets; the bad one is right where the good one ties in 1:
    # 2 (C(7,0) + C(7,1)) / 2^7 = 16 / 128
    assert (pair.first, pair.first_value, pair.second_value) == ("good", 0.95, 0.4)
    assert pair.test == "McNemar (6 against 1)"
    assert pair.p == pair.adjusted == pytest.approx(16 / 128)
    assert pair.verdict == "not distinguishable"
    assert reasons == []


def test_other_candidates_are_not_compared(make_run: MakeRun) -> None:
    one, two = make_run("one", {"a": BASE}, ranking_accuracy=0.5), make_run("two", {"b": BASE}, ranking_accuracy=0.5)
    write_ranking(one, {"a": [RIGHT, WRONG]})
    write_ranking(two, {"b": [RIGHT, WRONG]}, text="别的")
    pairs, reasons = compare_accuracies([one, two])
    assert pairs == []
    assert "two/b cannot be compared with those of one/a" in reasons[0]
    pairs, reasons = compare_accuracies([one, make_run("three", {"c": BASE}, ranking_accuracy=0.5)])
    assert "Rankings of three/c are not compared" in reasons[0]


def test_other_tokens_are_compared_by_character(make_run: MakeRun) -> None:
    one = make_run("one", {"words": BASE, "worse": WORSE}, bits_per_character=2.0)
    halves = np.repeat(BASE / 2, 2) + 3.0  # each sentence in two segments: 6 nats more for its 50 characters
    two = make_run("two", {"bytes": halves}, comparison="two", bits_per_character=2.0)
    path = two.scores("bytes")
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    for number, row in enumerate(rows):
        row[0] = str(number // 2)
        row[4:] = row[4:] if number % 2 else ["", "", ""]
    path.write_text("\n".join(["heading", *map("\t".join, rows)]) + "\n", encoding="utf-8")
    pairs, reasons = compare_characters([one, two])
    assert {(pair.first, pair.second) for pair in pairs} == {("one/words", "two/bytes"), ("one/worse", "two/bytes")}
    pair = next(pair for pair in pairs if pair.first == "one/words")
    assert pair.difference == pytest.approx(-6 / 50 / math.log(2))
    assert pair.measure == "bits per character"
    assert pair.adjusted == pytest.approx(2 * pair.p)
    assert reasons == []
    assert compare_characters([one]) == ([], []), "the same tokens are compared by event"
    hidden = make_run("hidden", {"unk": BASE}, comparison="three")
    assert compare_characters([one, hidden]) == ([], []), "tokens that hide text have no bits per character"
    short = make_run("short", {"bytes": BASE[:50]}, comparison="two", bits_per_character=2.0)
    assert "are not the same" in compare_characters([one, short])[1][0]


def test_what_rules_a_token_out_is_left_out_of_characters(make_run: MakeRun) -> None:
    one = make_run("one", {"words": BASE, "worse": WORSE}, bits_per_character=2.0)
    broken = {"broken": np.where(np.arange(100) == 3, np.inf, BASE), "bytes": LIKE}
    special = {"broken": {"bits_per_character": math.inf}}
    two = make_run("two", broken, comparison="two", bits_per_character=2.0, special=special)
    pairs, reasons = compare_characters([one, two])
    assert {frozenset((pair.first, pair.second)) for pair in pairs} == {
        frozenset(("one/words", "two/bytes")),
        frozenset(("one/worse", "two/bytes")),
    }
    assert reasons == ["two/broken gives a token of the text probability 0: every other model is better."]


def test_models_meet_at_one_training_size(make_run: MakeRun) -> None:
    """A run of training sizes and one of the whole text: what read all of it is the same in both."""
    whole = make_run("whole", {"base": BASE}, bits_per_character=2.0)
    sizes = make_run(
        "sizes", {"few": WORSE, "all": LIKE}, special={"few": {"train_tokens": 10}, "all": {"train_tokens": 900}}
    )
    facts = sizes.read_facts()
    facts["corpus"]["splits"] = {"train": {"events": 900}}
    sizes.write_results(facts, sizes.read_results())
    found = compare_runs([whole, sizes])
    assert [{pair.first, pair.second} for pair in found.pairs] == [{"whole/base", "sizes/all (900 tokens)"}]
    assert "Models of these 2 runs are compared where they were trained on as much text." in found.reasons
    few = {"train_tokens": 10, "bits_per_character": 2.0}
    other = make_run("other", {"bytes": BASE}, comparison="two", special={"bytes": few})
    assert compare_characters([whole, other]) == ([], [])


def test_the_legend_names_the_test(make_run: MakeRun) -> None:
    seeds = {1: BASE, 2: LIKE}
    assert "100 segments, paired permutation test, 1 pair" in compared(make_run("a", {"x": BASE, "y": WORSE})).legend[0]
    told = compared(make_run("b", {"x": seeds, "y": WORSE})).legend[0]
    assert "100 segments, Student's t over seeds and segments for models of several seeds, 1 pair" in told


def test_a_tie_with_two_others_is_a_third(make_run: MakeRun) -> None:
    folder = make_run("run", {"a": BASE})
    rows = [(0, "", i, int(i == 0), 2.0, -1.0, -1.0, 3, str(i)) for i in range(3)]
    rows += [(1, "", i, int(i == 0), place, -1.0, -1.0, 3, str(i)) for i, place in enumerate((2.5, 2.5, 1.0))]
    folder.write_candidates(folder.read_results()[0], rows)
    ((_, credits),) = read_credits(folder).values()
    assert credits == pytest.approx([1 / 3, 0])
