"""A tokenizer.json of others: its ids here and there, its boundaries, unknown types, and words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers

from lmbench.corpus.huggingface import HuggingFaceTokenizer, Special
from lmbench.corpus.tokenizers import tokenizer_from_dict, train_tokenizer
from lmbench.corpus.words import word_openings, word_starts, word_types, written_words
from lmbench.errors import ModelError, UsageError

WORDS = {"the": 0, "cat": 1, "<eos>": 2, "sat": 3, "<begin>": 4, "<unk>": 5}


def backend() -> Backend:
    """Whole words, of which <begin> and <eos> are special."""
    made = Backend(models.WordLevel(WORDS, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<eos>", "<begin>"])
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    backend().save(str(tmp_path / "tokenizer.json"))
    write(tmp_path, "config.json", {"vocab_size": 8})
    write(tmp_path, "tokenizer_config.json", {"bos_token": "<begin>", "eos_token": {"content": "<eos>"}})
    return tmp_path


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def pieces(decoder: object = None, **settings: object) -> Backend:
    """Pieces of words; ``▁`` stands for a space."""
    made = Backend(models.BPE({"</s>": 0, "▁": 1, "▁un": 2, "able": 3, "猫": 4, "▁cat": 5}, [], **settings))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return made


def test_the_end_moves_to_the_front_and_the_others_keep_their_order(folder: Path) -> None:
    tokenizer = train_tokenizer(f"huggingface:path={folder}", ["anything"])
    assert isinstance(tokenizer, HuggingFaceTokenizer)
    assert tokenizer.special == Special(opens=4, ends=2)
    assert tokenizer.model_ids.tolist() == [2, 0, 1, 3, 4, 5, 6, 7]
    assert tokenizer.vocabulary.types == ("</s>", "the", "cat", "sat", "<begin>", "<unk>", "<type 6>", "<type 7>")
    tokens = tokenizer.encode(["the cat sat", "", "the dog"])
    assert tokens.ids.tolist() == [0, 1, 2, 3, 0, 0, 1, 5, 0]
    assert tokens.unknowns == 1
    assert tokenizer.decode([1, 2, 3]) == "the cat sat"
    assert tokenizer.tokens([1, 0]) == ["the", "</s>"]
    assert tokenizer.spec == f"huggingface:path={folder}"
    again = tokenizer_from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert again.vocabulary == tokenizer.vocabulary
    np.testing.assert_array_equal(again.encode(["the cat sat"]).ids, tokens.ids[:5])


def test_it_is_lossless_where_it_gives_the_text_back(folder: Path) -> None:
    tokenizer = HuggingFaceTokenizer.of_folder(folder)
    for texts, expected in ((["the cat", "sat"], True), (["the  cat"], False), (["the dog"], False)):
        assert tokenizer.is_lossless(texts, tokenizer.encode(texts)) is expected


def test_special_types_in_a_text_are_letters(folder: Path) -> None:
    tokens = HuggingFaceTokenizer.of_folder(folder).encode(["the <begin>cat sat<eos>"])
    assert tokens.ids.tolist() == [0, 1, 5, 5, 0]  # "<begin>cat" and "sat<eos>" are no words


def test_padding_and_truncation_of_its_file_are_left_aside(folder: Path) -> None:
    made = backend()
    made.enable_padding(length=9)
    made.enable_truncation(2)
    made.save(str(folder / "tokenizer.json"))
    assert len(HuggingFaceTokenizer.of_folder(folder).encode(["the cat sat"]).ids) == 5


@pytest.mark.parametrize(
    ("named", "config", "special"),
    [
        ({"eos_token": "<eos>"}, {}, (2, 2)),
        ({"bos_token": "<begin>"}, {}, (4, 2)),  # <eos> by its customary name
        ({}, {"bos_token_id": 4, "eos_token_id": [2, 3]}, (4, 2)),
        ({}, {"bos_token_id": 1, "eos_token_id": 1}, (2, 2)),  # 1 is no special type: a default of the library
        ({"cls_token": "<begin>", "sep_token": "<eos>"}, {}, (4, 2)),
    ],
)
def test_what_opens_and_ends_a_text(folder: Path, named: dict, config: dict, special: tuple[int, int]) -> None:
    write(folder, "tokenizer_config.json", named)
    write(folder, "config.json", {"vocab_size": 8, **config})
    assert HuggingFaceTokenizer.of_folder(folder).special[:2] == special


def test_spaces_are_shown_and_open_words(folder: Path) -> None:
    pieces(unk_token=None).save(str(folder / "tokenizer.json"))
    tokenizer = HuggingFaceTokenizer.of_folder(folder)
    assert (tokenizer.style, tokenizer.special) == ("spaces", Special(0, 0))
    assert tokenizer.tokens([2, 3, 4]) == [" un", "able", "猫"]
    assert word_openings(tokenizer)[:6].tolist() == [True, True, True, False, True, True]
    ids, ends = np.array([2, 3, 5, 4, 0]), np.array([5])
    starts = word_starts(ids, ends, word_types(tokenizer))
    assert written_words(tokenizer, ["unable cat猫"], ids, ends, starts) == ["unable", "cat", "猫", "</s>"]


def test_files_that_do_not_fit_are_refused(folder: Path) -> None:
    write(folder, "config.json", {"vocab_size": 5})
    with pytest.raises(ModelError, match="numbers 6 types, and its model predicts 5"):
        HuggingFaceTokenizer.of_folder(folder)
    write(folder, "config.json", [])
    with pytest.raises(ModelError, match="no JSON object"):
        HuggingFaceTokenizer.of_folder(folder)
    write(folder, "config.json", {})
    write(folder, "tokenizer.json", {"model": "none"})
    with pytest.raises(ModelError, match="is no tokenizer that"):
        HuggingFaceTokenizer.of_folder(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer\.json in it"):
        train_tokenizer(f"huggingface:path={folder}", [])
    with pytest.raises(UsageError, match="huggingface:path=FOLDER"):
        train_tokenizer("huggingface", [])


def test_a_tokenizer_without_any_end_is_refused(folder: Path) -> None:
    made = Backend(models.WordLevel({"the": 0, "cat": 1}, unk_token="the"))
    made.save(str(folder / "tokenizer.json"))
    write(folder, "tokenizer_config.json", {})
    with pytest.raises(ModelError, match="names no type that ends a text"):
        HuggingFaceTokenizer.of_folder(folder)
