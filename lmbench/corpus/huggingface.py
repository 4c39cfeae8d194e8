"""The tokenizer.json of a pretrained model -> a tokenizer like any other, and what its folder says of boundaries.

A checkpoint numbers its types as it likes; here the boundary is 0. So the type that ends a text there moves to the
front, the others keep their order, and ``model_ids`` gives the numbers back::

    there   the 0   cat 1   <eos> 2   sat 3   <bos> 4
    here    </s> 0  the 1   cat 2     sat 3   <bos> 4          model_ids = [2, 0, 1, 3, 4]

The boundary is read as the type that opens a text (``<bos>``), and predicted as the one that ends it (``<eos>``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from lmbench.corpus.batches import Tokens
from lmbench.corpus.tokenizer import Tokenizer
from lmbench.corpus.vocabulary import BOUNDARY, Vocabulary
from lmbench.errors import ModelError, UsageError

TOKENIZER_FILE, CONFIG_FILE = "tokenizer.json", "config.json"
NAMED_IN = ("tokenizer_config.json", "special_tokens_map.json")
CUSTOMARY = {
    "bos": ("<s>", "<bos>", "<|begin_of_text|>"),
    "eos": ("</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>"),
    "cls": ("[CLS]",),
    "sep": ("[SEP]",),
    "mask": ("[MASK]", "<mask>"),
}
"""Names of special types, for a folder that does not say them."""
BLOCK = 1 << 10
"""Units that are decoded at once."""

Style = Literal["bytes", "pieces", "spaces", "words"]
"""How types show where words begin: byte-level pairs with their space, ##pieces, ▁ for a space, or whole words."""


@dataclass(frozen=True)
class HuggingFaceConfig:
    """Whose tokens these are."""

    path: str = ""
    """Folder of a pretrained model, with tokenizer.json and config.json."""


class Special(NamedTuple):
    """Numbers, in the checkpoint, of the type that ``opens`` a text, the one that ``ends`` it, and the ``mask``, None
    where there is none."""

    opens: int
    ends: int
    mask: int | None = None


class HuggingFaceTokenizer(Tokenizer):
    """The tokenizer of a pretrained model, as its tokenizer.json describes it; it is not trained.

    Other models that are trained on its tokens predict the same events as the pretrained one, so that their
    perplexities may be compared. Special types, such as ``<mask>``, are never read out of a text: there they are
    letters like any other. ``rows``: V, the types that the model predicts, of which its tokenizer may use fewer.
    """

    kind = "huggingface"
    Config = HuggingFaceConfig

    def __init__(self, config: HuggingFaceConfig, model: str, rows: int, special: Special) -> None:
        from tokenizers import Tokenizer as Backend

        self._backend = Backend.from_str(model)
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True
        self.special = special
        others = np.delete(np.arange(rows), special.ends)
        self.model_ids = np.concatenate(([special.ends], others))  # int64 (V,)
        self._ids_here = np.zeros(max(rows, self._backend.get_vocab_size()) + 1, np.int32)  # [-1]: the boundary
        self._ids_here[self.model_ids] = np.arange(rows)
        content = json.loads(model)
        self.style: Style = _style(content)
        unknown = _unknown(content["model"], self._backend)
        known = None if unknown in (None, special.ends) else int(self._ids_here[unknown])
        super().__init__(config, Vocabulary(tuple(self._written(rows)), known))

    def _written(self, rows: int) -> list[str]:
        names = [self._backend.id_to_token(i) for i in self.model_ids[1:].tolist()]
        free = (f"<type {i}>" for i in self.model_ids[1:].tolist())
        return [BOUNDARY, *(n if n and n != BOUNDARY else other for n, other in zip(names, free, strict=True))]

    @classmethod
    def train(cls, units: Sequence[str], config: HuggingFaceConfig) -> Self:
        """That of the folder ``config.path``, whatever the ``units``."""
        return cls.of_folder(config.path)

    @classmethod
    def of_folder(cls, folder: str | Path) -> Self:
        """That of the pretrained model in ``folder``. Raises ModelError where it cannot be read or names no end."""
        if not str(folder):
            raise UsageError(f"{cls.kind} needs the folder of a pretrained model: write {cls.kind}:path=FOLDER.")
        folder = Path(folder).expanduser().absolute()
        content = read_json(folder, TOKENIZER_FILE)
        from tokenizers import Tokenizer as Backend

        try:
            text = json.dumps(content)
            backend = Backend.from_str(text)
        except Exception as error:  # noqa: BLE001 - the library raises no other class
            raise ModelError(
                f"{folder / TOKENIZER_FILE} is no tokenizer that the installed version of tokenizers reads: {error}. "
                "Save it again with transformers, or renew tokenizers."
            ) from None
        facts = read_json(folder, CONFIG_FILE)
        rows = facts.get("vocab_size") or facts.get("text_config", {}).get("vocab_size") or backend.get_vocab_size()
        own = max(backend.get_vocab(with_added_tokens=False).values(), default=-1) + 1
        if own > rows:
            raise ModelError(
                f"{folder} does not fit together: its tokenizer numbers {own:,} types, and its model predicts {rows:,}."
                " Copy both from the same checkpoint."
            )
        return cls(HuggingFaceConfig(str(folder)), text, rows, _special(folder, backend, facts, rows))

    def _ids(self, units: Sequence[str]) -> np.ndarray:
        parts: list[int] = []
        for encoding in self._backend.encode_batch_fast(units, add_special_tokens=False):
            parts.extend(encoding.ids)
            parts.append(-1)
        return self._ids_here[np.array(parts, np.int64)]

    def decode(self, ids: Iterable[int]) -> str:
        return self._backend.decode(self.model_ids[np.asarray(ids, np.int64)].tolist(), skip_special_tokens=False)

    def is_lossless(self, units: Sequence[str], encoded: Tokens) -> bool:
        if encoded.unknowns:
            return False
        rows = [self.model_ids[row[1:-1]].tolist() for row in encoded.rows()]
        return all(
            self._backend.decode_batch(rows[first : first + BLOCK], skip_special_tokens=False)
            == list(units[first : first + BLOCK])
            for first in range(0, len(rows), BLOCK)
        )

    def tokens(self, ids: Iterable[int]) -> list[str]:
        types = self.vocabulary.types
        if self.style == "bytes":
            return [BOUNDARY if i == 0 else self.decode([i]) for i in ids]
        return [types[i].replace("▁", " ") if self.style == "spaces" else types[i] for i in ids]

    def to_dict(self) -> dict[str, Any]:
        own = {"rows": len(self.vocabulary), "special": self.special._asdict()}
        return {
            "kind": self.kind, "config": asdict(self.config), **own, "model": json.loads(self._backend.to_str()),
        }  # fmt: skip

    @classmethod
    def _restore(cls, state: Mapping[str, Any]) -> Self:
        special = Special(**state["special"])
        return cls(HuggingFaceConfig(**state["config"]), json.dumps(state["model"]), state["rows"], special)


def read_json(folder: Path, name: str, *, needed: bool = True) -> dict[str, Any]:
    """The JSON file called ``name`` in the folder of a checkpoint; empty where it is not ``needed`` and not there.

    Raises ModelError where it cannot be read.
    """
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not needed:
            return {}
        raise ModelError(
            f"{folder} is no pretrained model that can be read here: there is no {name} in it. Name a folder with "
            "config.json, model.safetensors and tokenizer.json, as transformers writes them: save_pretrained of the "
            "model, and of its fast tokenizer."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder / name} cannot be read: {error}. Copy it from the checkpoint again.") from None
    if not isinstance(content, dict):
        raise ModelError(f"{folder / name} holds no JSON object. Copy it from the checkpoint again.")
    return content


def _special(folder: Path, backend: Any, facts: Mapping[str, Any], rows: int) -> Special:
    """What opens and ends a text, and the mask: as the folder names them, else what they are customarily called."""
    named: dict[str, Any] = {}
    for name in NAMED_IN:
        named |= read_json(folder, name, needed=False)
    added = backend.get_added_tokens_decoder()

    def number(key: str) -> int | None:
        said = named.get(f"{key}_token")
        found = [backend.token_to_id(said["content"] if isinstance(said, dict) else said)] if said else []
        written = facts.get(
            f"{key}_token_id"
        )  # a default of the library, unless it is a special type of this tokenizer
        found += [i for i in (written if isinstance(written, list) else [written]) if i in added and added[i].special]
        found += map(backend.token_to_id, CUSTOMARY[key])
        return next((i for i in found if i is not None and i < rows), None)

    bos, eos, cls, sep, mask = map(number, CUSTOMARY)
    opens, ends = (next((i for i in some if i is not None), None) for some in ((bos, cls, eos), (eos, sep, bos)))
    if opens is None or ends is None:
        raise ModelError(
            f"{folder} names no type that ends a text, nor one that opens it, so the ends of sentences cannot be "
            f'predicted. Name it in {folder / NAMED_IN[0]}, for example "eos_token": "</s>".'
        )
    return Special(opens, ends, mask)


def _style(content: Mapping[str, Any]) -> Style:
    """How the tokenizer of this JSON content writes words in pieces."""
    decoder = json.dumps(content.get("decoder"), ensure_ascii=False)
    if '"ByteLevel"' in decoder:
        return "bytes"
    if content["model"].get("type") == "WordPiece":
        return "pieces"
    return "spaces" if "▁" in decoder else "words"


def _unknown(model: Mapping[str, Any], backend: Any) -> int | None:
    """The number of the type for what the tokenizer does not know, None where it knows everything."""
    if model.get("byte_fallback"):
        return None
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    return backend.token_to_id(model["unk_token"]) if model.get("unk_token") else None
