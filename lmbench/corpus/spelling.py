"""Sentences as people write them -> the spelling of a corpus, so that a model meets the words that it has learned.

A benchmark writes ``Doesn't Mrs. Hill's dog weigh 5,000 pounds?``; the Penn Treebank, in the form that language models
are trained on (Mikolov et al. 2010), has ``does n't mrs. hill 's dog weigh N pounds``. Without a word of its own in the
vocabulary, each of these is ``<unk>``. Nothing is respelled unless it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from lmbench.errors import unknown_name

_PENN_TREEBANK = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        ("[\u2018\u2019\u02bc]", "'"),
        (r"[\"\u201c\u201d()\[\]{}\u2014\u2026]", " "),
        (r"\bcannot\b", "can not"),
        (r"(?<=\w)n't\b", " n't"),  # ca n't, wo n't: as the corpus has it
        (r"(?<=\w)'(s|re|ve|m|ll|d)\b", r" '\1"),
        (r"(?<=s)'(?=[\s.,;:!?]|$)", " '"),  # the dogs '
        (r"([$#])(?=\d)", r"\1 "),
        (r"(?<!\S)\d[\d.,:/]*(?<=\d)(%?)(?=[\s.,;:!?)]|$)", r"N\1"),
        (r"N%", "N N"),  # a sign that the corpus took for another number
        (r"[,;:!?]|(?<=\s)[-\u2013.]+(?=\s|$)", " "),
        (r"(?<!\.\w)\.+\s*$", ""),  # the final full stop, but for u.s. and the like; mr. keeps its own
    )
)


def penn_treebank(text: str) -> str:
    """``text`` spelled as the Penn Treebank of Mikolov et al. (2010): lower case, no punctuation, clitics apart, N for
    numbers. Full stops within the text stay, as those of abbreviations do there; the last one goes.

    >>> penn_treebank("Doesn't Mrs. Hill's dog weigh 5,000 pounds?")
    "does n't mrs. hill 's dog weigh N pounds"
    """
    text = text.lower()
    for pattern, replacement in _PENN_TREEBANK:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


SPELLINGS: Mapping[str, tuple[Callable[[str], str], str]] = {
    "given": (str, "as given"),
    "ptb": (
        penn_treebank,
        "in the spelling of the Penn Treebank: lower case, no punctuation, clitics apart, numbers N",
    ),
}
"""Name -> what respells a sentence, and how that is told."""


def spelling(name: str) -> tuple[Callable[[str], str], str]:
    """What respells a sentence as ``name`` says, and how that is told. Raises UsageError for a name that is none."""
    if name not in SPELLINGS:
        raise unknown_name("spelling", name, SPELLINGS)
    return SPELLINGS[name]
