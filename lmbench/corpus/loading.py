"""A name, file or folder -> ``Corpus``: found, read, checked, split.

::

    "ptb"              a catalog name: in LMBENCH_DATA, then in the cache
    "my.txt.gz"        one text, cut into train / valid / test
    "novels/"          a folder of documents, or of files that name their split
    "my.grammar"       a grammar to sample from
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmbench.corpus import catalog, places, reading, splitting
from lmbench.corpus.catalog import Entry
from lmbench.corpus.reading import BlankLines
from lmbench.corpus.segmentation import is_unsegmented_han
from lmbench.corpus.text import SPLITS, Corpus, Line, Split
from lmbench.errors import CorpusError, UsageError

FILE_SUFFIXES = (reading.TEXT_SUFFIXES - {""}) | reading.COMPRESSED.keys()
"""A name that ends so is meant as a file."""


def load_corpus(
    name_or_path: str | os.PathLike[str] = catalog.DEFAULT,
    *,
    line: Line | None = None,
    blank_lines: BlankLines | None = None,
    tokens: int | None = None,
    seed: int | None = None,
) -> Corpus:
    """The corpus called ``name_or_path``, or made of the file or folder there.

    ``line``: what a line is, ``"sentence"`` or mere ``"text"``; by default what the catalog declares, and
    ``"sentence"`` for a user's own file. ``blank_lines``: ``"drop"`` them, or ``"keep"`` each as an empty sentence;
    by default what the catalog declares, else ``"drop"``. ``tokens``: how much to sample, for corpora made by a
    grammar. ``seed``: of the sampling, or of the choice of blocks where the splits are cut here; published splits
    are what they are.

    A path that holds the very files of a catalog entry (by checksum) is read as that entry declares.
    Raises CorpusError where the text cannot be found, read or split, UsageError for an option that cannot be.
    """
    if line not in (None, "sentence", "text"):
        raise UsageError(f"line must be 'sentence' or 'text', not '{line}'.")
    if not os.fspath(name_or_path).strip():
        raise UsageError("The name of the corpus is empty. Give a name (lmbench corpus list), a file or a folder.")
    if blank_lines not in (None, "drop", "keep"):
        raise UsageError(f"blank_lines must be 'drop' or 'keep', not '{blank_lines}'.")
    entry = catalog.find(name_or_path) if isinstance(name_or_path, str) else None
    if entry is not None and entry.made:
        return _make(entry, tokens, seed)
    if entry is None and Path(name_or_path).suffix == ".grammar":
        return _sample(Path(name_or_path), tokens, seed)
    if tokens is not None:
        raise UsageError(
            f"tokens={tokens} sets the size of a corpus sampled from a grammar (english, chinese); "
            f"'{name_or_path}' has the size that it has. Leave tokens out."
        )
    path = _find(name_or_path, entry)
    entry = entry or _recognise(path)
    plan = _Plan(
        name=entry.name if entry else _name_of(path),
        path=path,
        line=line or (entry.line if entry else "sentence"),
        blank_lines=blank_lines or (entry.blank_lines if entry else "drop"),
        seed=seed,
        entry=entry,
    )
    return _load(plan)


@dataclass(frozen=True)
class _Plan:
    """What to read and how: settled before a byte of text is looked at."""

    name: str
    path: Path
    line: Line
    blank_lines: BlankLines
    seed: int | None
    entry: Entry | None


def _make(entry: Entry, tokens: int | None, seed: int | None) -> Corpus:
    if entry.name == "pydocs":
        if tokens is not None or seed is not None:
            raise UsageError("pydocs has neither tokens= nor seed=: it is what this interpreter's documentation is.")
        from lmbench.corpus.pydocs import load_pydocs

        return load_pydocs()
    return _sample(entry.name, tokens, seed)


def _sample(name: str | Path, tokens: int | None, seed: int | None) -> Corpus:
    from lmbench.corpus.grammar import load_embedded

    settings = {key: value for key, value in (("tokens", tokens), ("seed", seed)) if value is not None}
    return load_embedded(name, **settings)


def _find(name_or_path: str | os.PathLike[str], entry: Entry | None) -> Path:
    if entry is not None:
        found = places.locate(entry.names) or Path(name_or_path)  # a folder of that name here is the last resort
        if not found.exists():
            raise catalog.not_here(entry)
        return found
    text = os.fspath(name_or_path)
    path = Path(text).expanduser()
    if path.exists():
        return path
    if isinstance(name_or_path, os.PathLike) or os.sep in text or path.suffix in FILE_SUFFIXES:
        raise reading.missing(path)
    place = places.locate(text)
    if place is not None:
        return place
    known = [*catalog.CATALOG, *(alias for entry in catalog.ENTRIES for alias in entry.aliases), *places.available()]
    near = difflib.get_close_matches(text.lower(), known, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise CorpusError(
        f"'{text}' is neither a file or folder here ({Path.cwd()}) nor the name of a corpus.{hint} "
        f"Known: {', '.join(sorted(set(catalog.CATALOG) | set(places.available())))}.{places.complaint()}"
    )


def _name_of(path: Path) -> str:
    name = path.resolve().name
    for suffix in (*reading.COMPRESSED, *sorted(reading.TEXT_SUFFIXES - {""})):
        name = name.removesuffix(suffix)
    return name or "text"


def _recognise(path: Path) -> Entry | None:
    """The catalog entry whose very files lie at ``path``, told by their checksums."""
    single = {_sha256(path)} if path.is_file() else None
    for entry in catalog.ENTRIES:
        if not entry.files:
            continue
        found = single or {_sha256(path / name) for name in entry.files if (path / name).is_file()}
        if found == set(entry.files.values()):
            return entry
    return None


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # reading it will tell what is wrong


def _load(plan: _Plan) -> Corpus:
    groups = _files(plan)
    notes = [*_checksum_notes(plan, groups), *_aside_notes(plan, groups)]
    documents: dict[str, tuple[str, ...]] = {}
    for split, files in groups.items():
        documents[split], changes = _read(plan, files)
        notes += [f"{change}{f' in {split}' if len(groups) > 1 else ''}." for change in changes]
    if plan.entry is not None and plan.entry.cut is not None and set(documents) == {"train"}:
        documents = dict(splitting.cut(documents["train"], plan.entry.cut, plan.name))
    wanted = [split for split in SPLITS[1:] if split not in documents]
    if plan.entry is not None and (plan.entry.cut or plan.entry.patterns or len(wanted) == 2):
        notes.append(f"Splits: {plan.entry.splits}.")
    if wanted:
        parts, how = splitting.hold_out(documents["train"], plan.line, wanted, plan.seed, plan.name)
        documents |= parts
        if len(wanted) == 1:
            notes.append(f"There is no {wanted[0]} split, so it is cut from train: {how}.")
        elif plan.entry is None:
            notes.append(f"Split here: {how}.")
    train, valid, test = (Split(split, documents[split], plan.line) for split in SPLITS)
    return Corpus(
        plan.name,
        train,
        valid,
        test,
        language=plan.entry.language if plan.entry else _language(train),
        origin=f"{plan.entry.origin}; {plan.path}" if plan.entry else str(plan.path),
        notes=tuple(notes),
        unit=plan.entry.unit if plan.entry else "word",
    )


def _files(plan: _Plan) -> Mapping[str, Sequence[Path]]:
    """Split -> its files; all under ``train`` where the names tell nothing."""
    if plan.path.is_file():
        return {"train": [plan.path]}
    if not plan.path.is_dir():
        raise CorpusError(f"{plan.path} is neither a file nor a folder. Name one of these.")
    patterns = plan.entry.patterns if plan.entry else {}
    found = {split: sorted(plan.path.rglob(pattern)) for split, pattern in patterns.items()}
    if found and all(found.values()):
        return found
    files = reading.text_files(plan.path)
    if plan.entry is not None and plan.entry.files:
        known = [path for path in files if path.name.removesuffix(path.suffix * _packed(path)) in plan.entry.files]
        files = known or files
    return splitting.by_names(files, plan.path) or {"train": files}


def _packed(path: Path) -> bool:
    return path.suffix in reading.COMPRESSED


def _read(plan: _Plan, files: Sequence[Path]) -> tuple[tuple[str, ...], list[str]]:
    """The documents in ``files``, normalised, and in words what that changed."""
    documents, dropped, foreign = [], 0, 0
    for path in files:
        text, changed = reading.unify_newlines(reading.read_text(path))
        foreign += changed
        parts = reading.json_lines(text, path) if ".jsonl" in path.suffixes else [text]
        for part in parts:
            if plan.entry is not None and plan.entry.tagged:
                part = untag(part)
            if plan.line == "sentence":
                part, blank = reading.sentences(part, plan.blank_lines, path)
                dropped += blank
            if part and not part.isspace():
                documents.append(part)
    if not documents:
        where = f"{files[0]} holds" if len(files) == 1 else f"The {len(files)} files of {plan.path} hold"
        raise CorpusError(f"{where} white space and no text. Give a file that holds text.")
    changes = [f"{dropped:,} blank lines dropped"] if dropped else []
    if foreign and plan.line == "text":
        changes.append(f"line ends of {foreign} of {len(files)} files made \\n")
    return tuple(documents), changes


def untag(text: str) -> str:
    """``The/at jury/nn said/vbd`` -> ``The jury said``, as the Brown corpus needs it.

    >>> untag("The/at 1/2/cd jury/nn ./.")
    'The 1/2 jury .'
    """
    return "\n".join(" ".join([word.rpartition("/")[0] or word for word in line.split()]) for line in text.split("\n"))


def _checksum_notes(plan: _Plan, groups: Mapping[str, Sequence[Path]]) -> Iterable[str]:
    """A warning for each file that is not the one its figures were published on."""
    if plan.entry is None:
        return
    found = [path for files in groups.values() for path in files]
    if plan.entry.files and not any(path.name in plan.entry.files for path in found):
        names = ", ".join(plan.entry.files)
        yield f"none of its files has the name of a published one ({names}): figures may not compare."
    for path in found:
        expected = plan.entry.files.get(path.name)
        if expected and _sha256(path) != expected:
            yield f"{path.name} differs from the published one (SHA-256 {expected[:12]}...): figures may not compare."


def _aside_notes(plan: _Plan, groups: Mapping[str, Sequence[Path]]) -> Iterable[str]:
    """What else lies in a user's folder of splits, and is not read."""
    if plan.entry is None and plan.path.is_dir() and len(groups) > 1:
        read = {path for files in groups.values() for path in files}
        aside = [path.name for path in reading.text_files(plan.path) if path not in read]
        if aside:
            listed = ", ".join(aside[:3]) + ", ..." * (len(aside) > 3)
            yield f"Left aside, for they name no split: {listed} ({len(aside)} in all)."


def _language(train: Split) -> str:
    return "zh" if is_unsegmented_han(train.units[:1000]) else ""
