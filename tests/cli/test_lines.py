"""Lines as users have them: plain, in a table, in JSON; with faults in them."""

from __future__ import annotations

import io
import json

import pytest

from lmbench.cli.lines import FIRST, LINES, Item, Reader, arriving_lines
from lmbench.errors import CorpusError, UsageError


def read(content: str | bytes, **settings) -> list[Item]:
    settings.setdefault("name", "-")
    data = content if isinstance(content, bytes) else content.encode()
    return [item for group in Reader(**settings).groups(io.BytesIO(data)) for item in group]


def test_plain_lines_have_single_spaces_and_their_numbers():
    assert read("\ufeffthe  dog\r\n\n那只 狗\n") == [Item(1, "the dog"), Item(2, ""), Item(3, "那只 狗")]


def test_the_form_follows_from_the_name_and_may_be_said():
    assert read('{"text": "a"}', name="x.jsonl")[0].text == "a"
    assert read("text\ta\n那只狗\t1", name="x.TSV") == [Item(2, "那只狗", None, {"a": "1"})]
    assert read('{"text": "a"}')[0].text == '{"text": "a"}'
    assert read('{"text": "a"}', form="jsonl")[0].text == "a"


# TSV -------------------------------------------------------------------------------------------------

TABLE = "id\tsentence\tjudgement\n7\tthe dog barks\t*\n8\tthe dogs bark\t\n"


def test_a_first_row_that_names_the_field_is_a_heading():
    expected = [
        Item(2, "the dog barks", None, {"id": "7", "judgement": "*"}),
        Item(3, "the dogs bark", None, {"id": "8", "judgement": ""}),
    ]
    assert read(TABLE, form="tsv") == expected
    assert read(TABLE, form="tsv", field="sentence") == expected
    assert read(TABLE, form="tsv", field="2") == expected
    assert read(TABLE.replace("sentence", "satz"), form="tsv", field="satz") == expected


def test_columns_without_names_have_numbers():
    assert read("7\tthe dog\n8\t狗\n", form="tsv", field="2") == [
        Item(1, "the dog", None, {"1": "7"}),
        Item(2, "狗", None, {"1": "8"}),
    ]
    assert read("the dog\n狗\n", form="tsv") == [Item(1, "the dog"), Item(2, "狗")]


def test_a_column_may_hold_the_prefix():
    content = "before\ttext\tn\nthe dog \tbarks\t1\n"
    assert read(content, form="tsv", prefix_field="before") == [
        Item(2, "barks", "the dog ", {"before": "the dog ", "n": "1"})
    ]


@pytest.mark.parametrize(
    ("content", "settings", "words"),
    [
        ("a\tb\n", {}, "2 columns, and none is called text"),
        (TABLE, {"field": "sentences"}, "Did you mean"),
        (TABLE, {"field": "4"}, "no such column"),
        (TABLE, {"field": "2", "prefix_field": "sentence"}, "both name the column sentence"),
        ("text\ttext\n", {}, "one name"),
    ],
)
def test_columns_that_are_not_there(content, settings, words):
    with pytest.raises(UsageError, match=words):
        read(content, form="tsv", **settings)


def test_a_field_of_plain_text():
    with pytest.raises(UsageError, match="--input tsv"):
        read("a", field="text")


def test_rows_of_another_length_are_left_out(capsys):
    assert [item.number for item in read(TABLE + "9\tthe dog\n\n10\ta\tb\n", form="tsv")] == [2, 3, 6]
    assert capsys.readouterr().err == (
        "line 4 of standard input is left out: it has 2 columns, and the first row has 3\n"
    )


# JSON ------------------------------------------------------------------------------------------------


def test_keys_are_carried_along():
    rows = ['{"id": 7, "text": "the  dog", "more": [1, {"a": null}]}', "", '{"sentence": "狗"}']
    assert read("\n".join(rows), form="jsonl") == [
        Item(1, "the dog", None, {"id": 7, "more": [1, {"a": None}]}),
        Item(3, "狗"),
    ]
    assert read('{"a": "x", "b": "y"}', form="jsonl", field="b", prefix_field="a") == [Item(1, "y", "x", {"a": "x"})]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": 7}', "'text' is no text but 7"),
        ('{"text": "a\\u0000b"}', "'text' is no text"),
        ('{"test": "a"}', "no key 'text'. Did you mean 'test'?"),
        ('["a"]', "no object"),
        ('{"text": "a"', "not JSON"),
        ('{"text": "a \\ud83d"}', "half of a surrogate pair"),
        ("[" * 100_000, "JSON"),
        (b'{"text": "\xff"}', "byte 11 (0xff) is not UTF-8"),
    ],
)
def test_what_is_no_line_of_json_is_left_out_and_said(line, words, capsys):
    content = line if isinstance(line, bytes) else line.encode()
    assert [item.text for item in read(content + b'\n{"text": "dog \\ud83d\\udc15"}', form="jsonl")] == ["dog 🐕"]
    said = capsys.readouterr().err
    assert said.startswith("line 1 of standard input is left out: ")
    assert words in said


# Faults ----------------------------------------------------------------------------------------------


def test_strict_answers_what_came_before_and_stops():
    groups = Reader("x.txt", strict=True).groups(io.BytesIO(b"a\nb\n\xff\nc\nd \0\n"))
    assert [item.text for item in next(groups)] == ["a", "b"]
    with pytest.raises(CorpusError, match=r"Line 3 of x\.txt cannot be read: byte 1 \(0xff\) is not UTF-8\. Without"):
        next(groups)


def test_what_no_model_can_read_is_found_among_its_group(capsys):
    asked = []

    def check(texts: list[str]) -> None:
        asked.append(len(texts))
        if any("</s>" in text.split() for text in texts):
            raise CorpusError("The text holds </s>.")

    reader = Reader("-", check=check)
    items = [item.text for group in reader.groups(io.BytesIO(b"a\nb </s>\nc\n\xff\n")) for item in group]
    assert (items, reader.bad, asked) == (["a", "c"], 2, [3, 1, 1, 1])
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "line 2 of standard input is left out",
        "line 4 of standard input is left out",
    ]


def test_the_first_groups_are_small():
    """So that the first answer does not wait for many others; all lines come, in order."""
    lines = [str(number) for number in range(5000)]
    groups = list(arriving_lines(io.BytesIO("\n".join(lines).encode())))
    assert [line.decode() for group in groups for _, line in group] == lines
    assert [number for group in groups for number, _ in group] == list(range(1, 5001))
    assert len(groups[0]) == FIRST
    assert max(map(len, groups)) == LINES


def test_every_line_of_json_that_python_writes_is_read():
    row = {"text": "tab\tand \u2028 and \U00020000", "x": 1.5}
    for ascii_only in (True, False):
        (item,) = read(json.dumps(row, ensure_ascii=ascii_only), form="jsonl")
        assert (item.text, item.rest) == ("tab and and \U00020000", {"x": 1.5})
