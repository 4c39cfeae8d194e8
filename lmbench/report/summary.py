"""Results of a run -> the two sentences that a reader takes home, and short asides for what does not fit into them.

The first says who predicts the text best, by how much over whom, and whether chance could explain it; the second what
that cost. A model trained with several seeds stands for their mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lmbench.benchmark.results import Result
from lmbench.report.drawing import figure_number
from lmbench.report.scaling import at_largest, crossings, curves
from lmbench.report.tables import Group, failures, groups

SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
UNITS = {"word": "word tokens", "char": "characters", "byte": "bytes", "bpe": "BPE tokens"}
COUNTED = ("ngram", "kenlm", "skip")
"""Families whose size is a number of n-grams."""
LEVEL = 0.05
"""A p-value from here on says that chance will do as an explanation."""
PValues = Mapping[frozenset[str], float]
"""Two models -> p-value of no difference between them, corrected for the number of comparisons."""


@dataclass(frozen=True)
class Summary:
    """``sentences``: two, or one where there is no second thing to say. ``asides``: one sentence each, often none."""

    sentences: tuple[str, ...]
    asides: tuple[str, ...]


@dataclass(frozen=True)
class Contender:
    """One model of a group, over its seeds. ``value``: its perplexity, or the mean of them."""

    name: str
    results: tuple[Result, ...]
    value: float

    @property
    def seconds(self) -> float | None:
        """Mean seconds of training."""
        known = [result.train_seconds for result in self.results if result.train_seconds is not None]
        return fmean(known) if known else None


def summarize(results: Sequence[Result], p_values: PValues | None = None) -> Summary:
    """What ``results`` come to, at the largest training size where there are several. ``p_values``: what is known of
    the differences between models."""
    if not results:
        return Summary(("No model of this run has finished yet.",), ())
    met = [str(crossing) for crossing in crossings(curves(results)) if crossing.measured]
    results = at_largest(results)
    apart = groups(results)
    scored = [group for group in apart if _contenders(group.results, "perplexity")]
    if len(scored) > 1:
        sentences = _several(scored)
    elif scored:
        sentences = _one(scored[0], "perplexity", p_values or {})
    elif adaptive := [group for group in apart if _contenders(group.results, "adaptive_perplexity")]:
        sentences = _one(adaptive[0], "adaptive_perplexity", p_values or {})
    else:
        return Summary(tuple(_none(results, apart)), ())
    return Summary(tuple(sentences), (*met, *_asides(results, bool(scored))))


def _contenders(results: Sequence[Result], field: str) -> list[Contender]:
    """The models with a finite ``field``, best first; the source of the text competes with none."""
    apart: dict[str, list[Result]] = {}
    for result in results:
        value = getattr(result, field)
        if value is not None and math.isfinite(value) and result.kind != "source":
            apart.setdefault(result.model, []).append(result)
    found = [
        Contender(
            rows[0].label if len(rows) == 1 else rows[0].sized, tuple(rows), fmean(getattr(r, field) for r in rows)
        )
        for rows in apart.values()
    ]
    return sorted(found, key=lambda contender: contender.value)


def _one(group: Group, field: str, p_values: PValues) -> list[str]:
    """Both sentences on one group."""
    found = _contenders(group.results, field)
    best, kind, text = found[0], field.replace("_", " "), _text(group)
    source = next((r.perplexity for r in group.results if r.kind == "source" and r.perplexity), None)
    floor = f" (the source of the text, which none can beat, has {figure_number(source)})" if source else ""
    if len(found) == 1:
        return [_alone(best, field, kind, text, floor), _cost_alone(best)]
    value = figure_number(best.value)
    even = [other for other in found if other.value == best.value]
    names = join([other.name for other in even])
    if len(even) == len(found):
        return [f"{names} are even on {text}: each has the {kind} {value}{floor}.", _cost(best, found)]
    who = f"Of {spell(len(found))} models" if len(found) > 2 else "Of the two models"
    if len(even) > 1:
        after = found[len(even)]
        tail = f"the next, {after.name}, has {figure_number(after.value)}"
        return [
            f"{who}, {names} predict {text} best, with the same {kind} of {value}{floor}; {tail}.",
            _cost(best, found),
        ]
    word = "best" if len(found) > 2 else "better"
    seeds = f", the mean of {spell(len(best.results))} seeds" if len(best.results) > 1 else ""
    lead = _lead(best, found, p_values)
    return [f"{who}, {names} predicts {text} {word}: its {kind} is {value}{seeds}{floor}{lead}.", _cost(best, found)]


def _alone(best: Contender, field: str, kind: str, text: str, floor: str) -> str:
    """The only model: its number, and how sure it is."""
    if len(best.results) > 1:
        values = [getattr(result, field) for result in best.results]
        low, high = figure_number(min(values)), figure_number(max(values))
        return (
            f"{best.name}, trained with {spell(len(values))} seeds, predicts {text} with a mean {kind} of "
            f"{figure_number(best.value)}, from {low} to {high}{floor}."
        )
    low, high = getattr(best.results[0], f"{field}_low"), getattr(best.results[0], f"{field}_high")
    known = low is not None and high is not None and math.isfinite(high)
    interval = f" (95 % interval {figure_number(low)} to {figure_number(high)})" if known else ""
    return f"{best.name} predicts {text} with the {kind} {figure_number(best.value)}{interval}{floor}."


def _lead(best: Contender, found: Sequence[Contender], p_values: PValues) -> str:
    """By how much the best leads, over whom, and whether chance would do."""
    second = found[1]
    next_one = "" if len(found) == 2 else ", the next"
    p = _p_value(best, second, p_values)
    less = 1 - best.value / second.value
    if p is not None and p >= LEVEL:
        alike = [c.name for c in found[2:] if (q := _p_value(best, c, p_values)) is not None and q >= LEVEL]
        others = (
            f", as could that over {join(alike if len(alike) < 4 else [f'{spell(len(alike))} others'])}"
            if alike
            else ""
        )
        lead = f"lead of {percent(less)} over {second.name} ({figure_number(second.value)})"
        return f", but its {lead} could be chance ({_p_text(p)}){others}"
    sure = "" if p is None else f", a difference that chance does not explain ({_p_text(p)})"
    if less >= 0.5:
        return f", against {figure_number(second.value)} for {second.name}{next_one}{sure}"
    return f", {percent(less)} below that of {second.name}{next_one} ({figure_number(second.value)}){sure}"


def _p_value(one: Contender, other: Contender, p_values: PValues) -> float | None:
    return p_values.get(frozenset((one.results[0].sized, other.results[0].sized)))


def _cost(best: Contender, found: Sequence[Contender]) -> str:
    """What the best cost, and who was quickest."""
    timed = [(c.seconds, c) for c in found if c.seconds is not None and c.results[0].kind != "uniform"]
    own = best.seconds
    if own is None or len(timed) < 2:
        return _cost_alone(best)
    quick_seconds, quick = min(timed, key=lambda item: item[0])
    if quick is best:
        slower_seconds, slower = min((item for item in timed if item[1] is not best), key=lambda item: item[1].value)
        return (
            f"It was also the quickest to train, in {duration(own)}, against {duration(slower_seconds)} for "
            f"{slower.name}, and has {_size(best)}."
        )
    more = quick.value / best.value - 1
    higher = f", {percent(more)} higher" if 0 < more < 1 else ""
    return (
        f"It has {_size(best)} and took {duration(own)} to train; the quickest, {quick.name}, took "
        f"{duration(quick_seconds)} and comes to {figure_number(quick.value)}{higher}."
    )


def _cost_alone(best: Contender) -> str:
    if best.seconds is None:
        return f"It has {_size(best)}."
    return f"It has {_size(best)} and took {duration(best.seconds)} to train."


def _several(apart: Sequence[Group]) -> list[str]:
    """Both sentences where the models predict different events."""
    leaders = [(group, _contenders(group.results, "perplexity")) for group in apart]
    told = [
        f"{found[0].name} {'leads with' if len(found) > 1 else 'has'} {figure_number(found[0].value)} on {_text(group)}"
        for group, found in leaders
    ]
    first = (
        f"The models predict different events and stand in {spell(len(apart))} tables, whose perplexities must not be "
        f"compared: {join(told)}."
    )
    rows = [result for group in apart for result in group.results if result.kind != "source"]
    if all(result.bits_per_byte is not None for result in rows if result.perplexity is not None):
        ranked = sorted((r for r in rows if r.bits_per_byte is not None), key=lambda r: r.bits_per_byte or 0.0)
        best, second = ranked[0], next((r for r in ranked if r.model != ranked[0].model), None)
        if second is not None:
            return [
                first,
                f"In bits per byte of the text, which may be compared, {best.label} is best with "
                f"{best.bits_per_byte:.3f}, before {second.label} with {second.bits_per_byte:.3f}.",
            ]
    costs = [
        f"{found[0].name} took {duration(found[0].seconds)}" for _, found in leaders if found[0].seconds is not None
    ]
    return [first, f"To train, {join(costs)}."] if costs else [first]


def _none(results: Sequence[Result], apart: Sequence[Group]) -> list[str]:
    """The sentences where no model has a perplexity that is a number."""
    endless = [r.label for r in results if math.inf in (r.perplexity, r.adaptive_perplexity)]
    pseudo = [r for r in results if r.pseudo_perplexity is not None]
    if endless:
        rule, its = ("rules", "its perplexity is") if len(endless) == 1 else ("rule", "their perplexities are")
        first = f"{join(endless)} {rule} out some token of {_text(apart[0])} that does occur: {its} infinite."
        return [first, *_failed(results)]
    if pseudo:
        return [*_pseudo(pseudo), *_failed(results)]
    failed = failures(results)
    if not failed:
        return ["No model of this run has a perplexity."]
    if len(results) == 1:
        told = f"The one model of this run, {failed[0].label}, failed and has no numbers."
        return [told, f"The reason: {failed[0].reason.rstrip('.')}."]
    names = join([result.label for result in failed])
    return [
        f"None of the {spell(len(results))} models of this run has numbers: {names} failed.",
        f"The first of them, {failed[0].label}, says: {failed[0].reason.rstrip('.')}.",
    ]


def _pseudo(results: Sequence[Result]) -> list[str]:
    """Of models that give no probability of a text: what they have instead, and how they rank."""
    each = join([f"{result.label} ({figure_number(result.pseudo_perplexity or 0)})" for result in results])
    have = "has" if len(results) == 1 else "have"
    told = [f"{each} {have} a pseudo-perplexity only, which is comparable with its like and with nothing else."]
    best = max(results, key=lambda result: result.ranking_accuracy or 0.0)
    if best.ranking_accuracy is not None and best.ranking_sets:
        share = f"{100 * best.ranking_accuracy:.1f} %"
        told.append(f"{best.label} puts the right sentence first in {share} of {best.ranking_sets:,} candidate sets.")
    return told


def _asides(results: Sequence[Result], ranked: bool) -> list[str]:
    """What else a reader should know at once."""
    found = []
    adaptive = _contenders(results, "adaptive_perplexity")
    if ranked and adaptive:
        best = adaptive[0]
        lead = "has" if len(adaptive) == 1 else "has the best of these:"
        found.append(
            f"What learns from the test text as it reads it stands apart: {best.name} {lead} an adaptive perplexity "
            f"of {figure_number(best.value)}."
        )
    pseudo = [result.label for result in results if result.pseudo_perplexity is not None]
    if pseudo:
        verb = "has" if len(pseudo) == 1 else "have"
        found.append(f"{join(pseudo)} {verb} a pseudo-perplexity only, which is not ranked with the others.")
    endless = [r.label for r in results if math.inf in (r.perplexity, r.adaptive_perplexity)]
    if endless:
        verb = "rules" if len(endless) == 1 else "rule"
        found.append(f"{join(endless)} {verb} out some token that does occur: an infinite perplexity.")
    return [*found, *_failed(results)]


def _failed(results: Sequence[Result]) -> list[str]:
    failed = [result.label for result in failures(results)]
    return [f"{join(failed)} failed; the reason stands below the table."] if failed else []


def _text(group: Group) -> str:
    """What a group predicts, as the object of a sentence."""
    signature = next((r.details["signature"] for r in group.results if "signature" in r.details), None)
    if not signature:
        return "the test text"
    unit = UNITS.get(str(signature.get("unit")), "tokens")
    return f"the {signature['events']:,} {unit} of the {signature['corpus']} {signature['split']} split"


def _size(contender: Contender) -> str:
    """Its parameters in words."""
    result = contender.results[0]
    count = result.parameters
    noun = "n-grams" if result.kind in COUNTED else "parameters"
    if count is None:
        return f"an unknown number of {noun}"
    if count >= 1_000_000:
        size, word = (count / 1e9, "billion") if count >= 1e9 else (count / 1e6, "million")
        return f"{size:.3g} {word} {noun}"
    return f"{count:,} {noun if count != 1 else noun[:-1]}"


def _p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.995 else "p = 1"


def percent(share: float) -> str:
    """A share in percent, to what a reader cares for.

    >>> percent(0.1234), percent(0.0123), percent(0.00001)
    ('12 %', '1.2 %', 'less than 0.1 %')
    """
    if share < 0.001:
        return "less than 0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def duration(seconds: float | None) -> str:
    """Seconds in the unit one would say.

    >>> duration(0.04), duration(1.0), duration(2.07), duration(420), duration(5400)
    ('less than 0.1 seconds', '1 second', '2.1 seconds', '7 minutes', '1.5 hours')
    """
    if seconds is None or seconds < 0.1:
        return "less than 0.1 seconds"
    for size, unit in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= 1.5 * size or size == 1:
            amount = f"{seconds / size:.0f}" if seconds / size >= 10 else f"{seconds / size:.1f}".removesuffix(".0")
            return f"{amount} {unit}{'' if amount == '1' else 's'}"
    return ""


def spell(number: int) -> str:
    """A small number as a word.

    >>> spell(3), spell(40)
    ('three', '40')
    """
    return SMALL[number] if number < len(SMALL) else f"{number:,}"


def join(names: Sequence[str]) -> str:
    """A list as one says it.

    >>> join(["a"]), join(["a", "b"]), join(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
