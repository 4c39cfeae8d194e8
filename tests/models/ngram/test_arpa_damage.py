"""Damaged ARPA files: an error with the line, and never a wrong model."""

from __future__ import annotations

import gzip
import random
import re
from pathlib import Path

import numpy as np
import pytest
from slow_arpa import SlowArpa
from test_arpa import assert_entries, assert_like

from lmbench.errors import ModelError
from lmbench.models.ngram.arpa.reading import read_arpa

HERE = Path(__file__).parent

GOOD = """\\data\\
ngram 1=5
ngram 2=4
ngram 3=2

\\1-grams:
-0.60206\t<unk>
-99\t<s>\t-0.30103
-0.60206\t</s>
-0.60206\ta\t-0.30103
-0.60206\tb\t0.1

\\2-grams:
-0.30103\t<s> a\t-0.5
-0.60206\ta </s>
-0.7\ta b\t-0.25
-0.9\tb a

\\3-grams:
-0.1\t<s> a b
-0.2\ta b a

\\end\\
"""


def problem(tmp_path: Path, content: str | bytes, name: str = "damaged.arpa") -> str:
    """The one paragraph with which the file is refused."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ModelError) as caught:
        read_arpa(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        # counts that lie
        ("ngram 2=4", "ngram 2=3", 17, "a further n-gram of order 2"),
        ("ngram 2=4", "ngram 2=5", 19, "end here after 4, but line 3 announces 5"),
        ("ngram 1=5", "ngram 1=999999999999", 2, "the whole file has"),
        ("ngram 3=2", "ngram 3=60", 4, "60 n-grams of order 3 are announced"),
        ("ngram 1=5", "ngram 1=-5", 2, "where a count belongs"),
        ("ngram 1=5", "ngram 1=five", 2, "where a count belongs"),
        ("ngram 2=4", "ngram 3=4", 3, "the count of order 3 stands where that of order 2 belongs"),
        ("ngram 3=2", "ngram 2=2", 4, "the count of order 2 stands where that of order 3 belongs"),
        ("ngram 1=5\nngram 2=4\nngram 3=2\n", "", 1, "followed by no count"),
        # sections
        ("\\2-grams:", "\\3-grams:", 13, "where the section \\2-grams: belongs"),
        ("\\1-grams:", "\\2-grams:", 6, "where the section \\1-grams: belongs"),
        ("\\3-grams:", "\\2-grams:", 19, "where the section \\3-grams: belongs"),
        ("\\2-grams:\n", "", 13, "a further n-gram of order 1 (or rubbish)"),
        ("\\3-grams:\n-0.1\t<s> a b\n-0.2\ta b a\n\n", "", 19, "'\\end\\' stands where the section \\3-grams: belongs"),
        ("ngram 3=2\n", "", 18, "'\\3-grams:' stands where \\end\\ belongs"),
        ("\\data\\", "\\date\\", 1, "holds no line \\data\\"),
        ("\\end\\\n", "", 22, "it was cut off"),
        ("\\end\\\n", "\\end\\\nmore", 24, "'more' stands after \\end\\"),
        ("\\end\\\n", "\\end\\\n\\1-grams:\n", 24, "'\\1-grams:' stands after \\end\\"),
        # numbers
        ("-0.7\t", "nan\t", 16, "'nan' must be a number"),
        ("-0.7\t", "inf\t", 16, "'inf' must be a number"),
        ("-0.7\t", "-nan\t", 16, "'-nan' must be a number"),
        ("-0.7\t", "0.7\t", 16, "'0.7' is above 0"),
        ("-0.7\t", "-0.7.1\t", 16, "'-0.7.1' must be a number"),
        ("-0.7\t", "-1e\t", 16, "'-1e' must be a number"),
        ("-0.7\t", "-\t", 16, "'-' must be a number"),
        ("-0.7\t", "-0,7\t", 16, "'-0,7' must be a number"),
        ("-0.7\t", "", 16, "'a' must be a number"),
        ("a b\t-0.25", "a b\tnan", 16, "'nan' stands where a backoff weight"),
        ("a b\t-0.25", "a b\tinf", 16, "'inf' stands where a backoff weight"),
        ("a b\t-0.25", "a b\t-0.25 -0.25", 16, "where a backoff weight, one number, or the end"),
        # words
        ("-0.7\ta b\t-0.25", "-0.7\ta", 16, "fewer than 2 words"),
        ("-0.9\tb a", "-0.9\tb a b", 17, "after 2 words 'b' stands"),
        ("-0.60206\tb\t0.1", "-0.60206\ta\t0.1", 11, "'a' stands among the unigrams twice"),
        ("-0.9\tb a", "-0.7\ta b", 17, "'-0.7\ta b' cannot be: it stands in the file twice"),
        ("-0.9\tb a", "-0.9\tb c", 17, "the word 'c' is not among the unigrams"),
        ("-0.2\ta b a", "-0.2\tb b a", 21, "its context, the n-gram without its last word, is not in the file"),
        ("-0.9\tb a", "-0.9\tb <s>", 17, "may only be the first word"),
        ("-0.2\ta b a", "-0.2\ta <s> a", 21, "may only be the first word"),
        ("-0.2\ta b a", "-0.2\ta </s> a", 21, "and </s> only the last"),
        ("-0.9\tb a", "-0.9\t</s> a", 17, "and </s> only the last"),
        ("-0.60206\t</s>", "-0.60206\tend", 7, "hold no </s>"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(old: str, new: str, line: int, words: str, tmp_path: Path) -> None:
    assert GOOD.count(old) >= 1
    damaged = GOOD.replace(old, new, 1)
    if "hold no </s>" in words:
        damaged = damaged.replace("a </s>", "a end")
    message = problem(tmp_path, damaged)
    assert f"damaged.arpa, line {line}: " in message
    assert words in message


@pytest.mark.parametrize("zeros", [12, 17, 18, 40])
def test_an_absurd_count_allocates_nothing(zeros: int, tmp_path: Path) -> None:
    assert ", line 3: " in problem(tmp_path, GOOD.replace("ngram 2=4", f"ngram 2=1{'0' * zeros}"))


def test_orders_have_an_end(tmp_path: Path) -> None:
    header = "".join(f"ngram {k}=1\n" for k in range(1, 120))
    message = problem(tmp_path, f"\\data\\\n{header}" + "\n" * 50_000)
    assert "line 102: order 101 is announced; n-grams of up to 100 words are read" in message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    assert "line 11: byte 1 of the word (0xFF)" in problem(tmp_path, GOOD.encode().replace(b"b\t0.1", b"\xff\t0.1"))
    assert "line 11: the word holds a NUL" in problem(tmp_path, GOOD.replace("b\t0.1", "b\0\t0.1"))


def test_files_that_are_something_else(tmp_path: Path) -> None:
    assert "is empty" in problem(tmp_path, "")
    assert "line 1: this text file holds no line \\data\\" in problem(tmp_path, "the cat sat\n")
    assert "line 1: this binary file holds no line \\data\\" in problem(tmp_path, bytes(range(256)) * 9)
    binary = b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(200)
    assert "is a binary file of KenLM" in problem(tmp_path, binary)
    packed = gzip.compress(GOOD.encode() * 50)
    message = problem(tmp_path, packed[: len(packed) // 2], "cut.arpa.gz")
    assert "damaged gz file" in message
    assert re.search(r"cut.arpa.gz, line \d+ is the last that can be unpacked", message)
    assert "not a gz file" in problem(tmp_path, GOOD, "plain.arpa.gz")
    with pytest.raises(ModelError, match="There is no file"):
        read_arpa(tmp_path / "missing.arpa")
    with pytest.raises(ModelError, match="is a folder"):
        read_arpa(tmp_path)


# Fuzzing ---------------------------------------------------------------------------------------------


def sources() -> list[bytes]:
    """Small valid files: by hand, pruned, with spaces, of order 1, and the head of what lmplz wrote."""
    spaced = GOOD.replace("\t", "  ").replace("\n", "\r\n")
    with gzip.open(HERE / "toy.o1.arpa.gz") as file:
        lines = file.read().replace(b"=747", b"=60").split(b"\n")
    single = b"\n".join([*lines[:64], b"", b"\\end\\", b""])
    pruned = GOOD.replace("-0.9\tb a\n", "").replace("ngram 2=4", "ngram 2=3")  # "a b a" lacks its suffix
    return [GOOD.encode(), pruned.encode(), spaced.encode(), GOOD.replace("b", "\u6771\u4eac").encode(), single]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to three small accidents."""
    for _ in range(chance.randint(1, 3)):
        lines = data.split(b"\n")
        here, there = chance.randrange(len(lines)), chance.randrange(len(lines))
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(11)
        if kind == 0:
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + bytes([chance.choice(b" \t\r\n\\-.=0e9\0<>")]) + data[at:]
        elif kind == 2:
            data = data[:at]
        elif kind == 3:
            data = data[:at] + data[at + chance.randint(1, 9) :]
        elif kind == 4:
            del lines[here]
        elif kind == 5:
            lines.insert(there, lines[here])
        elif kind == 6:
            lines[here], lines[there] = lines[there], lines[here]
        elif kind == 7:
            fields = re.split(rb"([ \t]+)", lines[here])
            chance.shuffle(fields)
            lines[here] = b"".join(fields)
        elif kind == 8:
            numbers = [
                b"-1.5",
                b"0",
                b"-inf",
                b"nan",
                b"3",
                b"1e9",
                b"-1e-400",
                b"-1e400",
                b"",
                b"99999999999999999999",
            ]
            lines[here] = re.sub(rb"-?[0-9.]+", lambda _: chance.choice(numbers), lines[here], count=1)
        elif kind == 9:
            words = [b"<s>", b"</s>", b"<unk>", b"a", b"b", b"-1", b"\\end\\"]
            lines[here] = re.sub(rb"[a-z<>/]+$|[a-z<>/]+", lambda _: chance.choice(words), lines[here], count=1)
        else:
            lines[here] = re.sub(
                rb"=(\d+)", lambda count: b"=%d" % (int(count[1]) + chance.choice((-1, 1))), lines[here]
            )
        if kind >= 4:
            data = b"\n".join(lines)
    return data


def check(path: Path, data: bytes, seed: int) -> bool:
    """Whether the file is read; then it must be what a slow reader makes of it, else an error must name the line."""
    path.write_bytes(data)
    try:
        model = read_arpa(path)
    except ModelError as error:
        message = str(error)
        assert str(path) in message
        if data:
            assert re.search(r", line [\d,]+: ", message), message
        return False
    slow = SlowArpa.parse(data)
    assert slow.announced == slow.counts()
    assert sum(slow.announced) == slow.lines
    for grams in model.table.orders:
        assert np.isfinite(grams.log_probs).all()
        assert np.isfinite(grams.log_backoffs).all()
    model.table.check()
    assert_entries(model, slow)
    assert_like(model, slow, 3, seed)
    return True


def test_damaged_files_give_an_error_or_the_right_model(tmp_path: Path) -> None:
    chance, good, read = random.Random(1), sources(), 0
    for data in good:
        assert check(tmp_path / "fuzzed.arpa", data, 0)
    for seed in range(600):
        read += check(tmp_path / "fuzzed.arpa", mutated(chance.choice(good), chance), seed)
    assert 50 < read < 400  # both happen
