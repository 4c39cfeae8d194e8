"""Files of n-best lists: JSON, HyPoradise, Kaldi and SRILM, and what is said where they are broken."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest

from lmbench.errors import CorpusError, UsageError
from lmbench.tasks.nbest import NBestList, parse_nbest, read_nbest
from lmbench.tasks.nbest_text import read_costs, read_references


def test_json_lines() -> None:
    text = (
        '{"id": "u1", "hypotheses": ["i  see ", "icy"], "scores": [-1, -2.5], "reference": "i see"}\n\n'
        '{"hypotheses": ["a bee"], "scores": [0]}\n'
    )
    lists, broken = parse_nbest(text)
    assert broken == []
    assert lists == [
        NBestList("u1", ("i see", "icy"), {"score": (-1, -2.5)}, "i see"),
        NBestList("2", ("a bee",), {"score": (0,)}),
    ]


def test_several_scores_have_names() -> None:
    (entry,), _ = parse_nbest('{"hypotheses": ["i", "eye"], "scores": {"acoustic": [1, 2], "lm": [3, 4]}}')
    assert entry.scores == {"acoustic": (1, 2), "lm": (3, 4)}


def test_hyporadise(tmp_path: Path) -> None:
    content = [
        {"id": 7, "input": ["我看见", "我看件"], "output": "我看见", "am_score": [-0.3, -0.4], "input1": "我看见。"}
    ]
    path = tmp_path / "lists.json.gz"
    path.write_bytes(gzip.compress(json.dumps(content, ensure_ascii=False).encode()))
    lists, broken = read_nbest(path)
    assert (lists, broken) == ([NBestList("7", ("我看见", "我看件"), {"score": (-0.3, -0.4)}, "我看见")], [])


KALDI = "u1-2 icy\nu1-1 i see\nmr-x-2-1 a bee\nu1-3\n"


def test_kaldi_with_costs_and_references(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(KALDI, encoding="utf-8")
    (tmp_path / "ac").write_text("u1-1 10.5\nu1-2 9\nu1-3 8\nmr-x-2-1 7\n", encoding="utf-8")
    (tmp_path / "trn").write_text("i see (u1)\na bee  (mr-x-2)\n", encoding="utf-8")
    (tmp_path / "ref").write_text("u1 i see\nmr-x-2 a bee\n", encoding="utf-8")
    costs = {"acoustic": read_costs(tmp_path / "ac")}
    for references in ("trn", "ref"):
        said = read_references(tmp_path / references)
        lists, broken = read_nbest(tmp_path / "text", references=said, costs=costs)
        assert broken == []
        assert lists == [  # a cost is a negative score; an empty hypothesis is one
            NBestList("u1", ("i see", "icy", ""), {"acoustic": (-10.5, -9, -8)}, "i see"),
            NBestList("mr-x-2", ("a bee",), {"acoustic": (-7,)}, "a bee"),
        ]


def test_kaldi_hypothesis_without_cost_is_left_out() -> None:
    lists, broken = parse_nbest(KALDI, costs={"ac": {"u1-1": 1.0, "u1-3": 2.0, "mr-x-2-1": 3.0}})
    assert lists[0].hypotheses == ("i see", "")
    assert broken == ["line 1: u1-2 has no cost in ac"]


BYTELOG = 1024 * math.log(1.0001)


def test_srilm_forms(tmp_path: Path) -> None:
    folder = tmp_path / "nbest"
    folder.mkdir()
    (folder / "b.nbest").write_text("-100 -2.5 3 <s> i see </s>\n-101 -2 2 icy\n", encoding="utf-8")
    (folder / ".hidden").write_text("no list", encoding="utf-8")
    (entry,), _ = read_nbest(folder)
    assert entry.id == "b"
    assert entry.hypotheses == ("i see", "icy")
    assert entry.scores["acoustic"] == pytest.approx((-100 * math.log(10), -101 * math.log(10)))
    assert entry.scores["recogniser-lm"] == pytest.approx((-2.5 * math.log(10), -2 * math.log(10)))

    (folder / "b.nbest").write_text("NBestList1.0\n(-4500) i -pau- see\n(-4600) icy\n", encoding="utf-8")
    (entry,), _ = read_nbest(folder / "b.nbest")
    assert entry.hypotheses == ("i see", "icy")
    assert entry.scores == {"score": pytest.approx((-4500 * BYTELOG, -4600 * BYTELOG))}

    second = (
        "NBestList2.0\n(-300) i ( st: 0.0 et: 0.2 g: -10 a: -100 ) ay ( st: 0.0 et: 0.2 g: 0 a: -100 ) "
        "see ( st: 0.3 et: 0.6 g: -20 a: -170 ) s-1 ( st: 0.7 et: 0.8 g: 0 a: -9 )\n"
    )
    (entry,), broken = parse_nbest(second, "u7.nbest")
    assert (entry.id, entry.hypotheses, broken) == ("u7", ("i see",), [])  # a phone and a state are no words
    assert entry.scores["acoustic"] == pytest.approx((-270 * BYTELOG,))
    assert entry.scores["recogniser-lm"] == pytest.approx((-30 * BYTELOG,))


GOOD = '{"hypotheses": ["a"], "scores": [1]}\n'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"hypotheses": ["a"', "line 2, column 20: not JSON"),
        ('["a"]', "line 2: an object"),
        ('{"hypothesis": ["a"]}', "the object holds hypothesis"),
        ('{"hypotheses": []}', "at least one"),
        ('{"hypotheses": ["a", 3]}', "hypothesis 2 is 3"),
        ('{"hypotheses": ["a", "b"], "scores": [1]}', "2 hypotheses, but 1 of score"),
        ('{"hypotheses": ["a"], "scores": ["b"]}', "finite numbers, not 'b'"),
        ('{"hypotheses": ["a"], "scores": [NaN]}', "finite numbers, not nan"),
        ('{"hypotheses": ["a"], "scores": 3}', "score must be a list"),
        ('{"hypotheses": ["a"], "scores": [1], "reference": 4}', "the reference is 4"),
        ('{"hypotheses": ["a"]}', "utterance 2 has no scores, but 1 has the scores score"),
        ('{"id": "1", "hypotheses": ["a"], "scores": [1]}', "stands there twice"),
    ],
)
def test_a_broken_list_is_told_and_the_rest_goes_on(line: str, reason: str) -> None:
    lists, broken = parse_nbest(f'{{"id": "1", "hypotheses": ["a"], "scores": [1]}}\n{line}\n{GOOD}')
    assert [entry.id for entry in lists] == ["1", "3"] if "JSON" not in reason else ["1", "2"]
    assert len(broken) == 1
    assert reason in broken[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[{]", "line 1, column 3, is not JSON"),
        ("", "holds no n-best list"),
        ('{"hypotheses": []}', "The first that is broken: line 1"),
        ("plain words\n", "in a form that is known"),
        ("NBestList3.0\n(1) a\n", "opens with NBestList3.0"),
        ("NBestList1.0\n-1 a\n", "a score in parentheses comes first"),
        ("NBestList2.0\n(-1) a ( st: 1 )\n", "each word has 11 fields"),
    ],
)
def test_what_holds_no_list_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=r"u\.nbest") as caught:
        parse_nbest(text, "u.nbest")
    assert reason in str(caught.value)


def test_files_that_are_not_there_or_belong_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no file or folder"):
        read_nbest(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="belong to Kaldi"):
        parse_nbest(GOOD, costs={"ac": {}})
    (tmp_path / "ac").write_text("u1-1 1\nu1-2 x\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 2, is no cost"):
        read_costs(tmp_path / "ac")
    lists, broken = parse_nbest("u1-1 a\nu2 b\n")
    assert [entry.id for entry in lists] == ["u1"]
    assert broken == ["line 2: 'u2' is not an utterance and a number, such as u1-1"]
