"""ARPA files: what others wrote loads with their scores, and what is written loads with others, with ours."""

from __future__ import annotations

import gzip
from bisect import bisect_left
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_arpa import SlowArpa

from lmbench.corpus.places import data_folders
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.corpus.vocabulary import Vocabulary
from lmbench.errors import ModelError
from lmbench.models import registry
from lmbench.models.ngram.arpa.lines import put_decimal
from lmbench.models.ngram.arpa.reading import read_arpa, read_words
from lmbench.models.ngram.arpa.writing import write_arpa
from lmbench.models.ngram.model import NGram, NGramConfig
from lmbench.models.ngram.table import Grams, Table
from lmbench.scoring.scorer import token_log_probs

HERE = Path(__file__).parent
PTB = next((p / "ptb" for p in data_folders() if (p / "ptb").is_dir()), HERE / "no-ptb")
REFERENCE = PTB.parents[1] / "reference"
LN10 = np.log(10)


def toy(part: str) -> list[str]:
    return (HERE / f"toy.{part}.txt").read_text(encoding="utf-8").splitlines()


def written_by_lmplz(name: str) -> Path:
    """One of the files beside this one, or of the reference figures."""
    for folder in (HERE, REFERENCE):
        if (folder / name).exists():
            return folder / name
    pytest.skip(f"{name} is not here")


def sentence_log10(model: NGram, sentences: list[str]) -> np.ndarray:
    """float64 (S,): log10 p of each sentence with its end."""
    tokens = model.tokenizer.encode(sentences)
    values = token_log_probs(model, tokens, "sentence")
    return np.add.reduceat(values, np.concatenate(([0], tokens.ends[:-1]))) / LN10


def trained(sentences: list[str], order: int, tokenizer: str = "word:min_count=1") -> NGram:
    tokens = train_tokenizer(tokenizer, sentences).encode(sentences)
    model = NGram(NGramConfig(order=order))
    model.fit(tokens, tokens)
    return model


def assert_same(one: NGram, other: NGram) -> None:
    """The same words, and the same numbers to the last bit."""
    assert one.tokenizer.vocabulary == other.tokenizer.vocabulary
    assert len(one.table.orders) == len(other.table.orders)
    for mine, yours in zip(one.table.orders, other.table.orders, strict=True):
        for name in ("begins", "words", "log_probs", "log_backoffs"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(yours, name), strict=True)


def assert_entries(model: NGram, slow: SlowArpa) -> None:
    """Every n-gram has its probability, and every context its backoff weight, to the rounding of float32."""
    ids = {word.encode(): i for i, word in enumerate(model.tokenizer.vocabulary.types)} | {b"<s>": 0}
    arrays = [(grams.begins.tolist(), grams.words.tolist()) for grams in model.table.orders]
    shown = {(b"<s>",): slow.entries.get((b"<s>",), (0.0, 0.0))[1], (b"</s>",): 0.0}
    for words, (log10_prob, log10_backoff) in slow.entries.items():
        number = 0
        for (begins, children), word in zip(arrays, words, strict=False):
            number = bisect_left(children, ids[word], begins[number], begins[number + 1])
            assert children[number] == ids[word]
        grams = model.table.orders[len(words) - 1]
        if words != (b"<s>",):
            assert abs(grams.log_probs[number] / LN10 - log10_prob) <= 2e-7 * max(1, abs(log10_prob))
        if len(words) < len(model.table.orders) and words[-1] != b"</s>":
            expected = shown.get(words, log10_backoff)
            assert abs(grams.log_backoffs[number] / LN10 - expected) <= 2e-7 * max(1, abs(expected))


# Reading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["toy.o1", "toy.o2", "toy.o3", "toy.o5", "toy.o3.prune001"])
def test_what_lmplz_wrote_has_its_entries_and_its_scores(name: str) -> None:
    path = written_by_lmplz(f"{name}.arpa.gz")
    model = read_arpa(path)
    slow = SlowArpa.parse(gzip.decompress(path.read_bytes()))
    assert slow.announced == slow.counts()
    assert_entries(model, slow)
    if name != "toy.o1":  # its scores were not kept, since KenLM reads no model of order 1
        expected = np.loadtxt(written_by_lmplz(f"{name}.scores.tsv"), usecols=0)
        # Its sums, about -30, are float32: 2e-6 each, added word by word, and printed with 8 digits.
        assert np.abs(sentence_log10(model, toy("test")) - expected).max() < 1.2e-5


def small(*longer: str, header: str = "ngram 1=5\nngram 2=3", unigrams: str | None = None) -> str:
    """A file of bigrams: </s> .25, <unk> .25, a .25 (weight .5), b .25; after <s> (weight .5) a .5."""
    unigrams = unigrams or "-0.60206 <unk>\n-99\t<s> -.30103\n-0.60206\t</s>\n-6.0206e-1 a -0.30103\n-60206E-5\tb"
    body = "\n".join(longer or ("-0.30103 <s> a", "-0.60206 a </s>", "-0.60206 a b"))
    return f"\\data\\\n{header}\n\n\\1-grams:\n{unigrams}\n\n\\2-grams:\n{body}\n\n\\end\\\n"


def read(tmp_path: Path, text: str | bytes, notes: list[str] | None = None) -> NGram:
    path = tmp_path / "model.arpa"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_arpa(path, notes.append if notes is not None else None)


def probabilities(model: NGram, sentence: str) -> list[float]:
    return np.exp(token_log_probs(model, model.tokenizer.encode([sentence]), "sentence")).round(6).tolist()


def test_a_file_worked_by_hand(tmp_path: Path) -> None:
    model = read(tmp_path, small())
    assert model.tokenizer.vocabulary.types == ("</s>", "<unk>", "a", "b")
    # p(a | <s>) = .5 as it stands; p(b | a) = .25 as it stands; p(</s> | b) = .25, b having no weight
    assert probabilities(model, "a b") == [0.5, 0.25, 0.25]
    # p(<unk> | <s>) = .5 * .25; p(a | <unk>) = .25; p(a | a) = .5 * .25; p(</s> | a) = .25 as it stands
    assert probabilities(model, "zebra a a") == [0.125, 0.25, 0.125, 0.25]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace("\t", "  ").replace("=", " = "),
        lambda text: text.replace("\n", "\n\n").replace("-0.60206 a b", " -0.60206 a b  "),
        lambda text: "written by hand\nngram 9=9\n" + text,
        lambda text: text.rstrip(),
        lambda text: text.replace("-0.60206 a </s>\n-0.60206 a b", "-0.60206 a b\n-0.60206 a </s>"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("-0.30103", "-0.301030000000000000000000000001"),
        lambda text: text.replace("-0.30103 <s> a", "-3010300000000000000000000000e-28 <s> a"),
    ],
)
def test_every_way_to_write_it_is_read(change, tmp_path: Path) -> None:
    assert_same(read(tmp_path, change(small())), read(tmp_path, small()))


def test_words_of_any_script(tmp_path: Path) -> None:
    model = read(tmp_path, small().replace(" b", " 東京").replace("\tb", "\t東京").replace(" a", " naïve\u00a0ß"))
    assert model.tokenizer.vocabulary.types == ("</s>", "<unk>", "naïve\u00a0ß", "東京")
    assert probabilities(model, "naïve\u00a0ß 東京") == [0.5, 0.25, 0.25]


@pytest.mark.parametrize("zero", ["-99", "-inf", "-INF", "-1e31", "-99.0"])
def test_zero_is_kept_as_the_field_writes_it(zero: str, tmp_path: Path) -> None:
    model = read(tmp_path, small().replace("-0.60206 a b", f"{zero} a b"))
    log_prob = token_log_probs(model, model.tokenizer.encode(["a b"]), "sentence")[1]
    assert log_prob == pytest.approx(-99 * LN10, rel=1e-6)


def test_a_closed_file_gives_unk_what_kenlm_gives_it(tmp_path: Path) -> None:
    notes: list[str] = []
    text = small(header="ngram 1=4\nngram 2=3").replace("-0.60206 <unk>\n", "")
    model = read(tmp_path, text, notes)
    assert model.tokenizer.vocabulary.types == ("</s>", "<unk>", "a", "b")
    assert model.table.orders[0].log_probs[1] == pytest.approx(-100 * LN10, rel=1e-6)
    assert "knows no <unk>" in notes[0]
    notes.clear()
    assert_same(read(tmp_path, small().replace("<unk>", "<UNK>"), notes), read(tmp_path, small(), notes))
    assert not any("<unk>" in note for note in notes)


def test_a_file_that_is_no_distribution_says_so(tmp_path: Path) -> None:
    """After a, small() has .25 + .25 + .5 * (.25 + .25) = .75, and after <s> .5 + .5 * .75 = .875.

    With weights of 1 and 2/3 there it is a distribution.
    """
    notes: list[str] = []
    assert not read(tmp_path, small(), notes).normalized
    assert "sum to 0.75." in notes[0]
    notes.clear()
    text = small().replace("<s> -.30103", "<s> -0.17609").replace("a -0.30103", "a 0")  # log10 of 2/3, and of 1
    assert read(tmp_path, text, notes).normalized
    assert not notes
    model = trained(toy("train"), 2)
    model.table.orders[1].log_probs[5] -= 0.1
    write_arpa(tmp_path / "bent.arpa", model)
    read_arpa(tmp_path / "bent.arpa").save(tmp_path / "bent")
    assert not registry.load(tmp_path / "bent").normalized


def test_missing_suffixes_are_completed(tmp_path: Path) -> None:
    """As SRILM prunes: "a b c" is kept, "b c" is not, so p(c | b) is still b(b) p(c)."""
    notes: list[str] = []
    text = (
        "\\data\\\nngram 1=6\nngram 2=2\nngram 3=1\nngram 4=1\n\n"
        "\\1-grams:\n-1 <unk>\n-99 <s> -.2\n-.5 </s>\n-.6 a -.1\n"
        "-.7 b -.3\n-.8 c -.4\n\n\\2-grams:\n-.5 a b -.25\n-.4 <s> a -.125\n\n\\3-grams:\n-.1 a b c -.05\n\n"
        "\\4-grams:\n-.2 a b c a\n\\end\\\n"
    )
    model, slow = read(tmp_path, text, notes), SlowArpa.parse(text.encode())
    assert list(map(len, model.table.orders)) == [5, 4, 2, 1]  # "b c" and "c a"; "b c a"
    assert "3 n-grams that end longer ones were pruned" in notes[0]
    assert_entries(model, slow)
    assert_like(model, slow, 200, 4)


def assert_like(model: NGram, slow: SlowArpa, sentences: int, seed: int) -> None:
    """Random sentences have the probabilities of the definition."""
    random, highest = np.random.default_rng(seed), len(slow.announced)
    words = sorted(slow.vocabulary() - {b"</s>"})
    if any(set(word) & set(b"\x00\x0b\x0c") for word in words):  # no sentence holds such a word
        return
    texts = [[words[i] for i in random.integers(0, len(words), random.integers(0, 8))] for _ in range(sentences)]
    ids = {word.encode(): i for i, word in enumerate(model.tokenizer.vocabulary.types)} | {b"<UNK>": 1}
    rows = np.array([0] + [ids[word] for text in texts for word in [*text, b"</s>"]], np.int32)
    given = model.table.log_probs(rows, np.zeros(len(rows), bool))[1:] / LN10
    expected = []
    for text in texts:
        history: tuple[bytes, ...] = (b"<s>",)
        for word in [*text, b"</s>"]:
            recent = history[max(0, len(history) - highest + 1) :] if highest > 1 else ()
            expected.append(slow.log10_prob(recent, word))
            history = (*history, word)
    np.testing.assert_allclose(given, expected, atol=2e-5, rtol=1e-6)


@st.composite
def pruned(draw: st.DrawFn) -> str:
    """A file whose contexts are all there and whose suffixes are not, in any order of lines."""
    number = st.integers(-3000, 0).map(lambda thousandths: thousandths / 1000)
    words = ["a", "b", "c", "d"]
    kept: list[list[tuple[str, ...]]] = [[("<unk>",), ("</s>",), ("<s>",), *((word,) for word in words)]]
    for _ in range(draw(st.integers(1, 3))):
        if not (open_ := [gram for gram in kept[-1] if gram[-1] not in ("</s>", "<unk>")]):
            break
        chosen = draw(st.lists(st.tuples(st.sampled_from(open_), st.sampled_from([*words, "</s>"])), max_size=9))
        kept.append(draw(st.permutations(sorted({(*gram, word) for gram, word in chosen}))))
    text = "\\data\\\n" + "".join(f"ngram {k}={len(grams)}\n" for k, grams in enumerate(kept, 1))
    for k, grams in enumerate(kept, 1):
        lines = (f"{draw(number)}\t{' '.join(gram)}\t{draw(number)}\n" for gram in grams)
        text += f"\n\\{k}-grams:\n{''.join(lines)}"
    return text + "\n\\end\\\n"


@settings(deadline=None, derandomize=True, max_examples=40)
@given(text=pruned())
def test_whatever_is_pruned_the_distribution_stays(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pruned")
    model, slow = read(folder, text), SlowArpa.parse(text.encode())
    assert_entries(model, slow)
    assert_like(model, slow, 20, 1)
    write_arpa(folder / "again.arpa", model)
    again = read_arpa(folder / "again.arpa")
    assert_like(again, slow, 20, 2)
    if len(model.table.orders[-1]):  # an order without n-grams need not be written
        assert_same(again, model)


# Writing ---------------------------------------------------------------------------------------------


@given(
    value=st.floats(-1000, 0, width=32).filter(lambda x: x == 0 or x < -1e-6)
    | st.floats(0, 100, width=32).filter(lambda x: x == 0 or x > 1e-6)
)
def test_numbers_give_the_same_float32_back(value: float) -> None:
    buffer = np.zeros(32, np.uint8)
    written = buffer[: put_decimal(value / LN10, buffer, 0)].tobytes().decode()
    assert len(written) <= 24
    assert np.float32(float(written) * LN10) == np.float32(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (-0.5, "-0.5"), (-1.0, "-1"), (-99.0, "-99"), (-0.0012345678901, "-0.00123456789"), (12.25, "12.25")],
)
def test_numbers_are_written_plainly(value: float, written: str) -> None:
    buffer = np.zeros(32, np.uint8)
    assert buffer[: put_decimal(value, buffer, 0)].tobytes().decode() == written


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz"])
def test_what_is_written_is_read_back_to_the_last_bit(order: int, name: str, tmp_path: Path) -> None:
    model = trained(toy("train"), order)
    counts = write_arpa(tmp_path / name, model)
    assert counts == [len(grams) + (k == 0) for k, grams in enumerate(model.table.orders)]  # <s> is one more
    assert_same(read_arpa(tmp_path / name), model)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_it_is_written_as_the_field_does(tmp_path: Path) -> None:
    write_arpa(tmp_path / "m.arpa", trained(["a b", "a"], 2))
    lines = (tmp_path / "m.arpa").read_text().splitlines()
    assert lines[:4] == ["\\data\\", "ngram 1=5", "ngram 2=4", ""]
    assert [line.split("\t")[1] for line in lines[5:10]] == ["<unk>", "<s>", "</s>", "a", "b"]
    assert lines[6].startswith("-99\t<s>\t")
    assert [line.split("\t")[1:] for line in lines[12:16]] == [["<s> a"], ["a </s>"], ["a b"], ["b </s>"]]
    assert lines[16:] == ["", "\\end\\"]


def test_the_same_model_gives_the_same_file(tmp_path: Path) -> None:
    model = trained(toy("train")[:50], 3)
    for name in ("one.arpa.gz", "two.arpa.gz"):
        write_arpa(tmp_path / name, model)
    assert (tmp_path / "one.arpa.gz").read_bytes() == (tmp_path / "two.arpa.gz").read_bytes()


def test_characters_are_written_as_words(tmp_path: Path) -> None:
    model = trained(["ab ba", "a\tb"], 3, "char")
    write_arpa(tmp_path / "m.arpa", model)
    assert set(read_words(tmp_path / "m.arpa")) == {"</s>", "<unk>", "a", "b", "<U+0020>", "<U+0009>"}
    again = read_arpa(tmp_path / "m.arpa")
    assert again.tokenizer.kind == "char"
    assert_same(model, again)


def test_chinese_text_is_split_as_when_it_was_counted(tmp_path: Path) -> None:
    """Where the text has spaces, so that they are tokens; otherwise a file does not tell characters from words."""
    sentences = ["每位善良的法官喝了水", "法官 Anna 喝了茶"]
    model = trained(sentences, 3, "word:min_count=1:han=true")
    write_arpa(tmp_path / "m.arpa", model)
    again = read_arpa(tmp_path / "m.arpa")
    assert_same(model, again)
    assert sentence_log10(again, sentences) == pytest.approx(sentence_log10(model, sentences))


def test_a_model_without_unk_is_given_one(tmp_path: Path) -> None:
    model = trained(["ab ba", "ab"], 2, "byte")
    write_arpa(tmp_path / "m.arpa", model)
    again = read_arpa(tmp_path / "m.arpa")
    assert len(again.tokenizer.vocabulary) == 257
    assert again.table.orders[0].log_probs[1] == pytest.approx(-100 * LN10, rel=1e-6)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    tokens = train_tokenizer("word:min_count=1", ["a <s>"]).encode(["a <s>"])
    flat = registry.create("uniform")
    flat.fit(tokens, tokens)
    with pytest.raises(ModelError, match="only n-grams with backoff weights"):
        write_arpa(tmp_path / "m.arpa", flat)
    with pytest.raises(ModelError, match="holds '<s>' as a word"):
        write_arpa(tmp_path / "m.arpa", trained(["a <s>"], 2))
    broken = trained(["a b"], 2)
    broken.table.orders[1].log_probs[0] = np.nan
    with pytest.raises(ModelError, match="no number"):
        write_arpa(tmp_path / "m.arpa", broken)
    assert list(tmp_path.iterdir()) == []


# KenLM -----------------------------------------------------------------------------------------------


def kenlm_log10(path: Path, sentences: list[str]) -> np.ndarray:
    kenlm = pytest.importorskip("kenlm")
    model = kenlm.Model(str(path))
    return np.array([sum(score for score, _, _ in model.full_scores(sentence)) for sentence in sentences])


@pytest.mark.parametrize("order", [2, 3, 5])
def test_kenlm_gives_what_is_written_the_same_scores(order: int, tmp_path: Path) -> None:
    model = trained(toy("train"), order)
    write_arpa(tmp_path / "m.arpa.gz", model)
    test = [*toy("test"), "", "zebra", "the zebra zebra"]
    # Each of 20 or so words has a float32 of KenLM, 2e-7.
    np.testing.assert_allclose(sentence_log10(model, test), kenlm_log10(tmp_path / "m.arpa.gz", test), atol=5e-6)


@pytest.mark.parametrize("seed", range(4))
def test_kenlm_on_random_text(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    words = [chr(0x4E00 + i) for i in range(9)]
    text = [" ".join(random.choice(words, random.integers(0, 9))) for _ in range(60)]
    model = trained(text[:40], 2 + seed % 3)
    write_arpa(tmp_path / "m.arpa", model)
    np.testing.assert_allclose(sentence_log10(model, text), kenlm_log10(tmp_path / "m.arpa", text), atol=5e-6)


def test_kenlm_takes_zero_and_certainty(tmp_path: Path) -> None:
    """log p = -inf, log weight = -inf, and a log p that rounding left above 0."""
    plain = read(tmp_path, small())
    first, second = plain.table.orders
    backoffs = np.array([0, 0, -np.inf, 0], np.float32)
    pairs = replace(second, log_probs=np.array([1e-7, -1.0, -np.inf], np.float32))
    table = Table((Grams(first.begins, first.words, first.log_probs, backoffs), pairs), 4)
    model = NGram.of(table, plain.tokenizer)
    write_arpa(tmp_path / "m.arpa", model)
    expected = [0 - 99 + np.log10(0.25), 0 - 99 + np.log10(0.25) - 1 / LN10]  # a b </s>; a a </s>
    np.testing.assert_allclose(kenlm_log10(tmp_path / "m.arpa", ["a b", "a a"]), expected, atol=1e-5)
    np.testing.assert_allclose(sentence_log10(read_arpa(tmp_path / "m.arpa"), ["a b", "a a"]), expected, atol=1e-5)


def test_kenlm_on_ptb(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    if not PTB.is_dir():
        pytest.skip("LMBENCH_DATA has no ptb")
    text = (PTB / "ptb.valid.txt").read_text(encoding="utf-8").splitlines()
    sentences = [" ".join(line.split()) for line in text]
    model = trained(sentences[:2500], 4)
    write_arpa(tmp_path / "m.arpa", model)
    expected = kenlm_log10(tmp_path / "m.arpa", sentences[2500:])
    assert np.abs(sentence_log10(model, sentences[2500:]) - expected).max() < 1e-5


def test_a_vocabulary_of_the_file_is_saved_and_loaded(tmp_path: Path) -> None:
    model = read(tmp_path, small())
    model.save(tmp_path / "kept")
    again = registry.load(tmp_path / "kept")
    assert isinstance(again, NGram)
    assert again.tokenizer.vocabulary == Vocabulary(("</s>", "<unk>", "a", "b"))
    assert_same(again, model)
