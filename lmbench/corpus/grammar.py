"""Name or grammar file -> a ``Corpus`` sampled from it, with its grammar and its minimal pairs.

Each split is a stream of its own, so the test text is the same whatever the size of the training text. What was
sampled is kept under ``$LMBENCH_CACHE`` (by default ``~/.cache/lmbench``), by grammar, size and seed.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import lmbench
from lmbench.corpus import places
from lmbench.corpus.minimal_pairs import MinimalPair as MinimalPair
from lmbench.corpus.minimal_pairs import minimal_pairs
from lmbench.corpus.pcfg import Grammar as Grammar
from lmbench.corpus.text import SPLITS, Corpus, Split
from lmbench.errors import UsageError, unknown_name

TRAIN_TOKENS = 200_000
HELD_OUT_TOKENS = 10_000
PAIRS = 100
"""Minimal pairs for each phenomenon."""
SHA256 = {
    "english": "41830000017bbf242ae71aa18016b83e02f33c2146ed6aa5288e5b6ac9fba63e",
    "chinese": "0204de68a0698ccd5de4f198f1f62771aa03de93a0df0e9f5d0585ce96c4690d",
}
"""``Corpus.sha256`` of the grammars that ship with the package, at the default size and seed 0."""
VERSION = 1
"""Raised when the same grammar, size and seed give other text than before."""


def grammar_folder() -> Path:
    """Where the grammars lie: ``lmbench/corpora`` in a wheel, ``corpora`` beside the package in a checkout."""
    package = Path(lmbench.__file__).parent
    return next((f for f in (package / "corpora", package.parent / "corpora") if f.is_dir()), package / "corpora")


def grammar_names() -> tuple[str, ...]:
    """The grammars that ship with the package."""
    return tuple(sorted(path.stem for path in grammar_folder().glob("*.grammar")))


def load_grammar(name: str | Path) -> Grammar:
    """The grammar that ships under ``name``, or that in a file. Raises UsageError, CorpusError."""
    path = Path(name)
    if str(name) in grammar_names():
        path = grammar_folder() / f"{name}.grammar"
    elif not path.exists() and path.suffix != ".grammar":
        raise unknown_name("grammar", str(name), grammar_names())
    return Grammar.read(path)


def load_embedded(name: str | Path = "english", tokens: int = TRAIN_TOKENS, seed: int = 0) -> Corpus:
    """Sample the grammar ``name`` (``english``, ``chinese`` or a file): ``tokens`` for training, 10,000 for
    validation and for test each. Tokens are words, or characters where nothing separates words, and boundaries.

    Raises UsageError for a size or seed that cannot be, CorpusError for a grammar that is not sound.
    """
    if tokens < 1 or seed < 0:
        raise UsageError(f"A sample needs at least 1 token and a seed of at least 0, not {tokens} and {seed}.")
    grammar = load_grammar(name)
    path = places.cache_folder() / "sampled" / f"{grammar.name}-{grammar.sha256[:16]}-{tokens}-{seed}-v{VERSION}.json"
    content = _read(path)
    if content is None:
        content = _sample(grammar, tokens, seed)
        _write(path, content)
    train, valid, test = (Split(part, ("\n".join(content[part]),)) for part in SPLITS)
    known = set(train.units)
    seen = sum(sentence in known for sentence in test.units) / len(test.units)
    notes = (
        f"sampled from the grammar {grammar.name} ({grammar.sha256[:8]}), seed {seed}: "
        f"{grammar.entropy_per_token:.4f} nats a token, {grammar.entropy_per_character:.4f} nats a character",
        f"{100 * seen:.1f}% of the test sentences also occur in train, as chance has it",
    )
    pairs = tuple(MinimalPair(*pair) for pair in content["pairs"])
    origin = (
        f"sampled from {grammar.name}.grammar, written for lmbench" if str(name) in SHA256 else f"sampled from {name}"
    )
    return Corpus(grammar.name, train, valid, test, grammar.language, origin, grammar, pairs, notes)


def _sample(grammar: Grammar, tokens: int, seed: int) -> dict[str, Any]:
    """The splits and pairs, each from its own stream."""
    sizes = (tokens, HELD_OUT_TOKENS, HELD_OUT_TOKENS)
    parts = {part: grammar.sample(size, (seed, i)) for i, (part, size) in enumerate(zip(SPLITS, sizes, strict=True))}
    pairs = minimal_pairs(grammar, PAIRS, (seed, len(SPLITS)))
    return {**parts, "pairs": [[pair.phenomenon, pair.good, pair.bad] for pair in pairs]}


def _read(path: Path) -> dict[str, Any] | None:
    """What was kept, or None where nothing was, or where its checksum is wrong: it is made again then."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.pop("sha256", None) != _checksum(content):
        return None
    return content


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def _write(path: Path, content: dict[str, Any]) -> None:
    """Keep ``content``, whole or not at all. A cache that cannot be written only costs time."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({**content, "sha256": _checksum(content)}, file, ensure_ascii=False)
            os.replace(name, path)
        except OSError:
            Path(name).unlink(missing_ok=True)
