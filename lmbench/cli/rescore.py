"""Kept models + n-best lists -> the hypothesis to believe in each, and error rates where references are given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmbench.cli.tables import format_option, json_line, print_rows

if TYPE_CHECKING:
    from lmbench.tasks.error_rates import Unit
    from lmbench.tasks.nbest import NBestList
    from lmbench.tasks.rescoring import Normalisation, Rescoring, System


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="DIR... NBEST|-")
@click.option("--development", metavar="NBEST", help="Other lists, with references, on which the weights are tuned.")
@click.option("--weights", metavar="NAME=W,...", help="The weights themselves, as an earlier call printed them.")
@click.option(
    "--folds", type=int, metavar="K", help="Cut NBEST into K parts; the weights of each are tuned on the others."
)
@click.option(
    "--references", metavar="FILE", help="What was said, as Kaldi (u1 words) or sclite (words (u1)) write it."
)
@click.option(
    "--costs", multiple=True, metavar="NAME=FILE", help="Costs of Kaldi's hypotheses (u1-1 310.25); may be repeated."
)
@click.option(
    "--unit", type=click.Choice(["word", "character"]), help="What errors are counted in. [default: as the text needs]"
)
@click.option(
    "--normalise",
    multiple=True,
    type=click.Choice(["lower", "punctuation"]),
    help="Lower-case all texts, take punctuation away, before they are read and errors counted; may be repeated.",
)
@click.option("--out", metavar="FILE", help="The chosen hypotheses; .jsonl and .trn with what their forms hold.")
@click.option("--strict", is_flag=True, help="Stop at what is broken in NBEST instead of leaving it out.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the search for weights.")
@format_option
def rescore(
    arguments: tuple[str, ...],
    development: str | None,
    weights: str | None,
    folds: int | None,
    references: str | None,
    costs: tuple[str, ...],
    unit: Unit | None,
    normalise: tuple[Normalisation, ...],
    out: str | None,
    strict: bool,
    seed: int,
    form: str,
) -> None:
    """Choose among the hypotheses of a speech recogniser, or of any system that gives several answers.

    NBEST is a file of JSON ({"id": "u1", "hypotheses": ["i see", "icy"], "scores": [-3.1, -3.4], "reference":
    "i see"}, one object a line; or a list in HyPoradise's form), of Kaldi (u1-1 words; --costs, --references), of SRILM
    (NBestList1.0, 2.0, or: acoustic LM words), or a folder of SRILM files, one utterance each.

    A hypothesis is scored by the weighted sum of its log probability under each model, of its scores, of its length,
    and of its unknown words. The weights are tuned to the fewest errors on --development, or on the other --folds,
    never on the lists that they choose from.

    With references a table of error rates is printed, else the chosen hypotheses.

    \b
    lmbench rescore models/kn test.json --development dev.json --out chosen.txt
    lmbench rescore models/kn models/lstm nbest.jsonl --weights kn=0.3,lstm=0.5,score=1
    """
    from lmbench.cli.kept import load_models, note
    from lmbench.errors import UsageError
    from lmbench.tasks.rescoring import rescore as choose

    *folders, name = arguments
    if not folders:
        raise UsageError("Name the folder of at least one kept model, and then the n-best lists.")
    if weights is None and development is None and folds is None:
        raise UsageError(
            "Nothing says what the models weigh against the recogniser. Name other lists with references "
            "(--development FILE), give the weights (--weights NAME=W,...), or let each part of these lists be decided "
            "by weights from its other parts (--folds 5)."
        )
    if development is not None and Path(development).absolute() == Path(name).absolute():
        raise UsageError(
            f"{name} is named twice: weights tuned on the lists that they choose from say nothing about other lists. "
            "Name another file for --development, or take --folds 5."
        )
    models = load_models(folders)
    read = Reader(references, costs, strict)
    lists, held_out = read(name), None if development is None else read(development)
    done = choose(
        models,
        lists,
        weights=None if weights is None else parse_weights(weights),
        development=held_out,
        folds=folds,
        unit=unit,
        normalise=normalise,
        seed=seed,
    )
    if len(done.answered):
        print_rows(_rows(done), form)
    elif out is None:
        click.echo("\n".join(done.texts))
    if out is not None:
        _write(done, Path(out))
        note(f"The chosen hypotheses are in {out}")
    for told in _told(done, normalise):
        note(told)
    if read.broken:
        raise click.exceptions.Exit(2)


class Reader:
    """Reads files of lists, and tells what is broken in them; ``broken``: how much was."""

    def __init__(self, references: str | None, costs: Sequence[str], strict: bool) -> None:
        from lmbench.tasks.nbest_text import read_references

        self.strict, self.broken = strict, 0
        self.references = None if references is None else read_references(references)
        self.costs = _costs(costs)

    def __call__(self, name: str) -> list[NBestList]:
        from lmbench.cli.kept import note, standard_input
        from lmbench.errors import UsageError
        from lmbench.tasks.nbest import parse_nbest, read_nbest

        if name == "-":
            name = "standard input"
            lists, broken = parse_nbest(standard_input(), name, references=self.references, costs=self.costs)
        else:
            lists, broken = read_nbest(name, references=self.references, costs=self.costs)
        if broken and self.strict:
            raise UsageError(f"{name}, {broken[0]}. Mend it, or leave --strict out to go on without it.")
        for told in broken:
            note(f"{name}, {told}; it is left out")
        self.broken += len(broken)
        return lists


def _costs(options: Sequence[str]) -> dict[str, dict[str, float]]:
    """``NAME=FILE`` -> costs by name; several files of one name are one."""
    from lmbench.errors import UsageError
    from lmbench.tasks.nbest_text import read_costs

    costs: dict[str, dict[str, float]] = {}
    for option in options:
        name, given, path = option.partition("=")
        if not (name and given and path):
            raise UsageError(f"Costs are named and then found, as in --costs acoustic=ac_cost.txt, not '{option}'.")
        costs.setdefault(name, {}).update(read_costs(path))
    return costs


def parse_weights(text: str) -> dict[str, float]:
    """``kn=0.3,score=1`` -> weight by feature. Raises UsageError for what is none.

    >>> parse_weights("kn=0.3,score=1")
    {'kn': 0.3, 'score': 1.0}
    """
    import math

    from lmbench.errors import UsageError

    weights = {}
    for part in text.split(","):
        name, _, value = part.strip().rpartition("=")
        try:
            weights[name] = float(value)
        except ValueError:
            weights[name] = math.nan
        if not name or not math.isfinite(weights[name]):
            raise UsageError(
                f"'{part.strip()}' is no weight. Write --weights kn=0.3,score=1,length=0.1, numbers after =."
            )
    return weights


def _rows(done: Rescoring) -> list[dict[str, Any]]:
    """A row for the recogniser's first hypotheses, the chosen ones, and the best that are there."""
    from lmbench.scoring.significance import bootstrap_ratio

    rate = "wer_percent" if done.unit == "word" else "cer_percent"
    systems: dict[str, System] = {"1-best": "first", "rescored": "chosen", "oracle": "oracle"}
    rows = []
    for label, system in systems.items():
        errors = done.errors(system)
        interval = bootstrap_ratio(errors.edits, errors.lengths)
        difference = done.difference if system == "chosen" else None
        row = {
            "hypotheses": label,
            rate: 100 * errors.rate,
            "low": 100 * interval.low if interval else None,
            "high": 100 * interval.high if interval else None,
            "substitutions": int(errors.substitutions.sum()),
            "insertions": int(errors.insertions.sum()),
            "deletions": int(errors.deletions.sum()),
            f"{done.unit}s": int(errors.lengths.sum()),
            "wrong_utterances": int((errors.edits > 0).sum()),
            "difference": 100 * difference.rate if difference else None,
            "p": difference.p if difference else None,
        }
        if done.unit == "word":
            row["cer_percent"] = 100 * done.errors(system, "character").rate
        rows.append(row)
    return rows


def _told(done: Rescoring, normalise: Sequence[Normalisation]) -> Iterator[str]:
    """In words: the weights, what was done to texts, and whether the choice is better than the first hypotheses."""
    for number, tuning in enumerate(done.tunings, 1):
        which = "weights" if len(done.tunings) == 1 else f"weights of part {number}"
        where = (
            f", tuned on {tuning.utterances} utterances: {tuning.edits} edits instead of {tuning.edits_before}"
            if tuning.utterances
            else ""
        )
        weights = ",".join(f"{name}={weight:.6g}" for name, weight in tuning.weights.items() if weight)
        yield f"{which}: {weights or 'all 0'}{where}"
    if normalise:
        done_to = {"lower": "in lower case", "punctuation": "without punctuation"}
        yield f"Texts were read and compared {' and '.join(done_to[kind] for kind in dict.fromkeys(normalise))}."
    if missing := len(done.lists) - len(done.answered):
        yield f"{missing} of {len(done.lists)} utterances have no reference."
    if difference := done.difference:
        sure = ""
        if difference.interval:
            low, high = difference.interval
            sure = f" (95 % interval {100 * low:+.2f} to {100 * high:+.2f}, p = {difference.p:.2g})"
        yield (
            f"rescored - 1-best: {100 * difference.rate:+.2f} points{sure}; {difference.better} utterances better, "
            f"{difference.worse} worse"
        )


def _write(done: Rescoring, path: Path) -> None:
    """The chosen hypotheses: JSON lines, sclite's transcripts, or one a line."""
    from lmbench.training.checkpoints import write_text

    lines = []
    for entry, number, text in zip(done.lists, done.chosen.tolist(), done.texts, strict=True):
        if path.suffix == ".jsonl":
            lines.append(json_line({"id": entry.id, "chosen": number, "text": text, "reference": entry.reference}))
        else:
            lines.append(f"{text} ({entry.id})" if path.suffix == ".trn" else text)
    write_text(path, "\n".join([*lines, ""]))
