"""The class n-gram: what its parts multiply to, its settings, files and odd vocabularies."""

from __future__ import annotations

import numpy as np
import pytest

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import ModelError, UsageError
from lmbench.models import class_ngram, registry
from lmbench.models.class_ngram import ClassNGram, ClassNGramConfig
from lmbench.models.ngram.counting import count
from lmbench.models.ngram.smoothing import modified_kneser_ney
from lmbench.scoring.scorer import token_log_probs

GROUPS = [["the", "a", "some"], ["old", "young", "small"], ["cat", "dog", "bird", "fish"], ["slept", "saw", "ran"]]


def sample(sentences: int, seed: int = 0) -> list[str]:
    """Determiner, adjective or none, noun, verb: words of four kinds, some more frequent than others."""
    random = np.random.default_rng(seed)

    def pick(words: list[str]) -> str:
        return words[min(random.geometric(0.4) - 1, len(words) - 1)]

    return [
        " ".join(pick(kind) for kind in GROUPS if kind[0] != "old" or random.random() < 0.4) for _ in range(sentences)
    ]


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    units = sample(400)
    return train_tokenizer("word", units).encode(units)


def fitted(tokens: Tokens, **settings) -> ClassNGram:
    model = ClassNGram(ClassNGramConfig(**settings))
    model.fit(tokens, model_valid(tokens))
    return model


def model_valid(tokens: Tokens) -> Tokens:
    return tokens.tokenizer.encode(sample(60, seed=1))


def test_words_of_a_kind_are_found() -> None:
    units = sample(1000)
    tokens = train_tokenizer("word", units).encode(units)
    model, vocabulary = fitted(tokens, order=3, classes=6), tokens.tokenizer.vocabulary
    kinds = [{int(model.word_class[vocabulary.id(word)]) for word in words} for words in GROUPS]
    assert [len(kind) for kind in kinds] == [1, 1, 1, 1]
    assert len(set.union(*kinds)) == 4


def test_the_model_of_brown_is_the_class_n_gram_times_the_member(tokens: Tokens) -> None:
    model = fitted(tokens, order=3, classes=6, history="classes", word_order=1)
    test = tokens.tokenizer.encode(sample(30, seed=2))
    classes = model.word_class[test.ids]
    table = modified_kneser_ney(count(model.word_class[tokens.ids], 6, 3))
    by_class = table.log_probs(classes, np.arange(len(classes)) == 0)[1:]
    member = np.log(model.word_tries[0].look_up(test.ids, np.zeros((len(test.ids), 0), np.int32)))[1:]
    np.testing.assert_allclose(token_log_probs(model, test, "sentence"), by_class + member, atol=1e-6)
    assert len(model.word_tries) == 1


@pytest.mark.parametrize("history", ["classes", "words", "both", "all"])
@pytest.mark.parametrize("word_order", [1, None])
def test_every_history_gives_a_distribution_that_agrees_with_its_scores(tokens: Tokens, history, word_order) -> None:
    model = fitted(tokens, order=3, history=history, word_order=word_order)
    for row in tokens.tokenizer.encode(["the unicorn slept", "cat cat ran the the"]).rows():
        prefixes = [row[:length] for length in range(1, len(row))]
        following = model.next_log_probs(Batch.of_prefixes(prefixes))
        np.testing.assert_allclose(np.exp(following).sum(1), 1, atol=1e-6)
        picked = following[np.arange(len(prefixes)), row[1:]]
        np.testing.assert_allclose(model.log_probs(Batch.of([row]))[0, 1:], picked, rtol=1e-9)


def test_the_reported_loss_is_that_of_valid_and_more_histories_help_it(tokens: Tokens) -> None:
    valid, losses = model_valid(tokens), {}
    for history in ("words", "both"):
        model = ClassNGram(ClassNGramConfig(order=3, classes=6, history=history))
        losses[history] = model.fit(tokens, valid).valid_loss
        assert losses[history] == pytest.approx(-token_log_probs(model, valid, "sentence").mean())
    assert losses["both"] <= losses["words"] + 1e-9


def test_chunks_do_not_show(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    model, valid = fitted(tokens, order=4), model_valid(tokens)
    whole = token_log_probs(model, valid, "sentence")
    monkeypatch.setattr(class_ngram, "CHUNK", 5)
    np.testing.assert_array_equal(token_log_probs(model, valid, "sentence"), whole)


@pytest.mark.parametrize("tokenizer", ["char", "byte", "word"])
def test_small_texts_and_vocabularies(tokenizer: str) -> None:
    units = ["a", "", "a b"]
    tokens = train_tokenizer(tokenizer, units).encode(units)
    model = ClassNGram(ClassNGramConfig(classes=300))
    model.fit(tokens, tokens)
    following = model.next_log_probs(Batch.of_prefixes([np.array([0]), tokens.ids[:2]]))
    np.testing.assert_allclose(np.exp(following).sum(1), 1, atol=1e-6)


def test_the_five_steps_are_told(tokens: Tokens) -> None:
    class Listening:
        def __init__(self) -> None:
            self.steps: list[str] = []
            self.fractions: list[float] = []

        def step(self, name: str, detail: str) -> None:
            self.steps.append(name)

        def update(self, fraction: float, **figures: float) -> None:
            self.fractions.append(fraction)

        def note(self, text: str) -> None:
            pass

    progress = Listening()
    ClassNGram(ClassNGramConfig(order=2)).fit(tokens, tokens, progress=progress)
    assert progress.steps == ["structure", "data", "forward", "backward", "predict"]
    assert progress.fractions == sorted(progress.fractions)
    assert progress.fractions[-1] == 1


def test_a_damaged_file_is_refused(tokens: Tokens, tmp_path) -> None:
    fitted(tokens, order=2).save(tmp_path)
    path = tmp_path / class_ngram.ARRAYS_FILE
    content = path.read_bytes()
    for damaged in (content[:100], b"", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"class-ngram.safetensors cannot be read"):
            registry.load(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match="Train the model again"):
        registry.load(tmp_path)


@pytest.mark.parametrize(
    "spec", ["order=0", "word_order=0", "sweeps=0", "classes=2", "history=none", "classes=many", "smoothing=katz"]
)
def test_settings_that_cannot_be_are_told(spec: str) -> None:
    with pytest.raises(UsageError):
        registry.create(f"class-ngram:{spec}")


def test_a_history_that_is_unknown_is_told_in_python_too() -> None:
    with pytest.raises(UsageError, match="one of classes, words, both, all"):
        ClassNGramConfig(history="wrods")  # type: ignore[arg-type]
