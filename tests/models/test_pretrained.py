"""Pretrained folders as models: what ``transformers`` itself computes, the contract, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import ModelError, UsageError
from lmbench.models import registry
from lmbench.models.base import LanguageModel, Trainable
from lmbench.models.pretrained import KEPT, Pretrained, PretrainedConfig
from lmbench.scoring.metrics import perplexity, pseudo_perplexity
from lmbench.scoring.scorer import score
from tests.models import pretrained_models as made
from tests.models.pretrained_models import CHINESE, ENGLISH, TEXT

transformers = pytest.importorskip("transformers")

FOLDERS: dict[str, Callable[[Path], Path]] = {"gpt2": made.gpt2, "llama": made.llama, "bert": made.bert}
LONG = [" ".join(ENGLISH), "".join(CHINESE * 5)]
"""Longer than the 64 positions that the causal models have, and the 48 of the masked one."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in FOLDERS.items()}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, Pretrained]:
    return {name: Pretrained.open(folder) for name, folder in folders.items()}


@pytest.fixture(params=["gpt2", "llama"])
def causal(request: pytest.FixtureRequest, models: dict[str, Pretrained]) -> Pretrained:
    return models[request.param]


@pytest.fixture(params=list(FOLDERS))
def model(request: pytest.FixtureRequest, models: dict[str, Pretrained]) -> Pretrained:
    return models[request.param]


def rows_of(model: LanguageModel, texts: list[str]) -> list[np.ndarray]:
    return [row.astype(np.int64) for row in model.tokenizer.encode(texts).rows()]


def plain(folder: Path) -> tuple[Any, Any]:
    """The model and the tokenizer as ``transformers`` opens them."""
    masked = "Masked" in json.loads((folder / "config.json").read_text("utf-8"))["architectures"][0]
    family = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    return family.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(folder)


@torch.inference_mode()
def plain_nats(model: Any, ids: list[int], targets: list[int]) -> np.ndarray:
    """-ln p of ``targets[t]`` after ``ids[: t + 1]``, by the library alone."""
    log_probs = torch.log_softmax(model(torch.tensor([ids])).logits[0], 1)
    return -log_probs[torch.arange(len(ids)), torch.tensor(targets)].numpy()


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_sentences_have_the_numbers_of_transformers(name: str, folders, models) -> None:
    library, tokenizer = plain(folders[name])
    opens, ends = tokenizer.bos_token_id, tokenizer.eos_token_id
    expected = []
    for text in TEXT:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        expected.append(plain_nats(library, [opens, *ids], [*ids, ends]))
    scores = score(models[name], TEXT)
    np.testing.assert_allclose(scores.token_nats, np.concatenate(expected), atol=1e-5)
    assert scores.lossless
    assert scores.signature.unit == "huggingface"


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("text", LONG, ids=["english", "chinese"])
def test_beyond_its_positions_it_is_read_in_overlapping_windows(name: str, text: str, folders, models) -> None:
    library, _ = plain(folders[name])
    model = models[name]
    there = model.tokenizer.model_ids[model.tokenizer.encode([text]).ids]
    inputs, targets = [model.tokenizer.special.opens, *there[1:-1].tolist()], there[1:].tolist()
    assert len(inputs) > 64 + 32
    expected = np.zeros(len(inputs))
    for start in range(0, len(inputs) - 32, 32):  # the second half of each window, and all of the first
        nats = plain_nats(library, inputs[start : start + 64], targets[start : start + 64])
        fresh = 32 if start else 0
        expected[start + fresh : start + 64] = nats[fresh:]
    np.testing.assert_allclose(score(model, [text]).token_nats, expected, atol=1e-5)
    stream = score(model, Corpus("made", *(Split(name, (text,)) for name in ("train", "valid", "test"))))
    np.testing.assert_allclose(stream.token_nats, expected, atol=1e-5)


def test_inside_a_stream_the_boundary_is_predicted_as_the_end_and_read_as_the_beginning(folders, models) -> None:
    library, tokenizer = plain(folders["llama"])
    (begin, end), model = tokenizer.convert_tokens_to_ids(["<s>", "<end>"]), models["llama"]
    one, two = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (ENGLISH[0], CHINESE[1]))
    expected = plain_nats(library, [begin, *one, begin, *two], [*one, end, *two, end])
    text = Split("test", (f"{ENGLISH[0]}\n{CHINESE[1]}",))
    np.testing.assert_allclose(score(model, text, context="stream").token_nats, expected, atol=1e-5)


def test_a_masked_model_hides_each_token_and_the_rest_of_its_word(folders, models) -> None:
    library, tokenizer = plain(folders["bert"])
    expected = []
    for text in TEXT:
        ids = tokenizer(f"[CLS]{text}[SEP]", add_special_tokens=False)["input_ids"]
        pieces = tokenizer.convert_ids_to_tokens(ids)
        for place in range(1, len(ids) - 1):
            after = next(other for other in range(place + 1, len(ids)) if not pieces[other].startswith("##"))
            hidden = [tokenizer.mask_token_id if place <= other < after else i for other, i in enumerate(ids)]
            expected.append(plain_nats(library, hidden, ids)[place])
        expected.append(0.0)  # its end is taken for granted
    scores = score(models["bert"], TEXT)
    np.testing.assert_allclose(scores.token_nats, expected, atol=1e-5)
    assert any(piece.startswith("##") for piece in tokenizer.tokenize(" ".join(TEXT)))
    assert perplexity(scores) is None
    assert (pseudo_perplexity(scores) or 0) > 1
    with pytest.raises(ModelError, match="both sides"):
        models["bert"].next_log_probs(Batch.of_prefixes([np.array([0])]))


def test_a_masked_model_scores_what_is_longer_than_its_positions(models) -> None:
    nats = score(models["bert"], LONG).token_nats
    assert np.count_nonzero(nats == 0) == len(LONG)


def test_it_is_a_language_model(model: Pretrained) -> None:
    assert isinstance(model, LanguageModel)
    assert isinstance(model, Trainable)
    assert (model.kind, model.adapts, model.normalized) == ("pretrained", False, model.reads == "left")
    assert model.parameters == sum(weight.numel() for weight in plain(model.folder)[0].parameters())
    assert model.max_context == (48 if model.reads == "both" else 64)


def test_a_batch_equals_single_rows_whatever_the_order_and_padding(model: Pretrained) -> None:
    rows = rows_of(model, [*TEXT, *LONG])
    random = np.random.default_rng(1)
    some = [random.random(len(row)) < 0.5 for row in rows]
    batch = Batch.of(rows, some)
    asked = model.log_probs(batch)
    assert (asked[~batch.targets] == 0).all()
    together, backwards = model.log_probs(Batch.of(rows)), model.log_probs(Batch.of(rows[::-1]))[::-1]
    np.testing.assert_allclose(asked[batch.targets], together[batch.targets], atol=1e-5)
    for row, values, others in zip(rows, together, backwards, strict=True):
        np.testing.assert_allclose(
            values, np.pad(model.log_probs(Batch.of([row]))[0], (0, len(values) - len(row))), atol=1e-5
        )
        np.testing.assert_allclose(values, others, atol=1e-5)


def test_the_next_token_has_a_distribution_that_agrees(causal: Pretrained) -> None:
    rows = rows_of(causal, [ENGLISH[3], CHINESE[0], *LONG])
    for row in rows:
        prefixes = Batch.of_prefixes([row[:length] for length in range(1, len(row))])
        following = causal.next_log_probs(prefixes)
        assert following.shape == (len(row) - 1, len(causal.tokenizer.vocabulary))
        np.testing.assert_allclose(np.exp(following.astype(np.float64)).sum(1), 1, atol=1e-5)
        values = causal.log_probs(Batch.of([row]))[0, 1:]
        np.testing.assert_allclose(following[np.arange(len(row) - 1), row[1:]], values, atol=1e-5)
        shown = np.concatenate([*causal.distributions(Batch.of([row]))])
        np.testing.assert_allclose(shown, following, atol=1e-5)


def test_the_future_is_not_read(causal: Pretrained) -> None:
    row = rows_of(causal, [ENGLISH[5]])[0]
    for cut in range(2, len(row)):
        changed = np.where(np.arange(len(row)) < cut, row, 3)
        before, after = (causal.log_probs(Batch.of([r]))[0, :cut] for r in (row, changed))
        np.testing.assert_allclose(before, after, atol=1e-6)


def test_logits_that_are_more_than_a_product_are_those_of_the_model(tmp_path: Path) -> None:
    """Gemma 2 bends its logits by a tanh after the last matrix."""
    tokenizer = made.byte_level()
    torch.manual_seed(4)
    config = transformers.Gemma2Config(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=1, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, final_logit_softcapping=2.0,
        initializer_range=0.3, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    made.save(tmp_path, transformers.Gemma2ForCausalLM(config), tokenizer, bos_token=made.END, eos_token=made.END)
    library, _ = plain(tmp_path)
    model = Pretrained.open(tmp_path)
    (row,) = rows_of(model, [ENGLISH[2]])
    there = model.tokenizer.model_ids[row].tolist()
    expected = plain_nats(library, there[:-1], there[1:])
    np.testing.assert_allclose(-model.log_probs(Batch.of([row]))[0, 1:], expected, atol=1e-5)
    following = model.next_log_probs(Batch.of_prefixes([row[:4]]))
    assert -following[0, row[4]] == pytest.approx(expected[3], abs=1e-5)


def test_a_run_opens_it_and_trains_nothing(folders, models) -> None:
    text = Split("train", ("\n".join(TEXT),))
    corpus, spec = Corpus("made", text, text, text), f"pretrained:path={folders['gpt2']}"
    data = corpus.tokenize("word")
    model = registry.create(spec, {"seed": 1})
    report = model.fit(data.train, data.valid)
    assert (report.steps, report.tokens, report.stopped) == (0, 0, "closed-form")
    assert "--tokenizer huggingface:path=" in report.notes[0]
    assert registry.describe(model) == spec
    np.testing.assert_array_equal(score(model, corpus).token_nats, score(models["gpt2"], corpus).token_nats)
    shared = corpus.tokenize(f"huggingface:path={folders['gpt2']}")
    assert registry.create(spec).fit(shared.train, shared.valid).notes == ()
    counted = registry.create("ngram:order=2")
    counted.fit(shared.train, shared.valid)
    assert score(counted, corpus).signature.comparable == score(model, corpus).signature.comparable


def test_a_window_of_ones_own(folders) -> None:
    text = Split("train", ("\n".join(ENGLISH),))
    data = Corpus("made", text, text, text).tokenize("word")
    model = Pretrained(PretrainedConfig(str(folders["gpt2"]), sequence_length=8))
    model.fit(data.train, data.valid)
    (row,) = rows_of(model, [LONG[0]])
    values = model.log_probs(Batch.of([row]))[0, 1:]
    following = model.next_log_probs(Batch.of_prefixes([row[:length] for length in range(1, len(row))]))
    np.testing.assert_allclose(values, following[np.arange(len(row) - 1), row[1:]], atol=1e-5)
    with pytest.raises(UsageError, match="more than the 64 positions"):
        Pretrained(PretrainedConfig(str(folders["gpt2"]), sequence_length=65)).fit(data.train, data.valid)
    with pytest.raises(UsageError, match="at least 2"):
        PretrainedConfig(str(folders["gpt2"]), sequence_length=1)


def test_saved_and_loaded_it_gives_the_same_numbers(model: Pretrained, tmp_path: Path) -> None:
    model.save(tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", tmp_path / "moved")  # as to another machine
    for name in ("kept", "moved"):
        again = registry.load(tmp_path / name)
        assert again.tokenizer.vocabulary == model.tokenizer.vocabulary
        np.testing.assert_array_equal(score(again, TEXT).token_nats, score(model, TEXT).token_nats)
    again.save(tmp_path / "moved")  # where its files lie already
    assert registry.load(tmp_path / "moved").parameters == model.parameters


def test_a_kept_model_says_when_its_files_were_written_over(tmp_path: Path) -> None:
    folder = made.gpt2(tmp_path / "checkpoint")
    Pretrained.open(folder).save(tmp_path / "kept")
    weights = folder / "model.safetensors"
    if not weights.samefile(tmp_path / "kept" / KEPT / "model.safetensors"):
        pytest.skip("this disk has no hard links")
    weights.write_bytes(weights.read_bytes())
    os.utime(weights, (1, 1))
    with pytest.raises(ModelError, match=r"model\.safetensors is shared .* and was written over there"):
        registry.load(tmp_path / "kept")


@pytest.fixture
def copy(folders, tmp_path: Path) -> Path:
    """A GPT-2 to be damaged."""
    return Path(shutil.copytree(folders["gpt2"], tmp_path / "copy"))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        registry.load(folder)


def test_a_pickle_is_never_opened(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    refused(copy, r"pytorch_model\.bin, a pickle, which can run any program")
    (copy / "pytorch_model.bin").unlink()
    refused(copy, r"no model\.safetensors in it")


def test_missing_and_damaged_files_are_told(copy: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: len(content) // 2])
        refused(copy, "cannot open" if name.startswith("model") else "config.json cannot be read")
        (copy / name).write_bytes(content)
    (copy / "tokenizer.json").unlink()
    refused(copy, r"no tokenizer\.json in it")


def test_weights_without_their_output_are_refused(tmp_path: Path) -> None:
    tokenizer = made.word_pieces()
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=1,
        num_attention_heads=4, max_position_embeddings=48, architectures=["BertForMaskedLM"],
    )  # fmt: skip
    made.save(tmp_path, transformers.BertModel(config), tokenizer, cls_token="[CLS]", mask_token="[MASK]")
    facts = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**facts, "architectures": ["BertForMaskedLM"]}), "utf-8")
    refused(tmp_path, r"lack \d+ of those of BertForMaskedLM, such as cls\.")


def test_what_reads_both_sides_is_not_taken_for_causal(folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["bert"], tmp_path / "bert"))
    facts = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**facts, "architectures": ["BertLMHeadModel"]}), "utf-8")
    refused(folder, "reads what follows a token")


def test_code_in_the_folder_is_not_run(copy: Path) -> None:
    facts = json.loads((copy / "config.json").read_text("utf-8"))
    own = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}}
    (copy / "config.json").write_text(json.dumps({**facts, **own}), "utf-8")
    (copy / "mine.py").write_text("raise SystemExit('it ran')\n", "utf-8")
    refused(copy, "cannot open")


def test_the_network_is_not_reached(folders, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*arguments: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert Pretrained.open(folders["gpt2"]).parameters
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_without_the_library_it_says_what_to_install(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(copy, r"pip install transformers")


def test_a_specification_without_a_folder_is_refused() -> None:
    with pytest.raises(UsageError, match="write pretrained:path=FOLDER"):
        registry.create("pretrained")
    with pytest.raises(ModelError, match=r"no config\.json in it"):
        registry.create("pretrained:path=no-such-folder")
