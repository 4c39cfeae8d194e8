"""Kept models + lists of candidates -> each list with the most plausible first, and how often the right one leads."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from lmbench.cli.options import spelling_option, trained_line_option
from lmbench.cli.tables import json_line
from lmbench.errors import UsageError

if TYPE_CHECKING:
    from lmbench.corpus.text import Line
    from lmbench.models.base import LanguageModel
    from lmbench.tasks.ranking import Accuracy, CandidateSet, Order, Ranking

FORMATS = ("table", "tsv", "jsonl", "md", "csv")
SUMMARIES = ("md", "csv")
COLUMNS = ("model", "set", "place", "log_prob", "log_prob_per_token", "tokens", "answer", "text")


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="DIR... [FILE|FOLDER|-]")
@click.option(
    "--by",
    type=click.Choice(["total", "token", "character", "slor", "auto"]),
    default="total",
    show_default=True,
    help="What decides: the log probability of the whole sentence, that per token or per character, syntactic "
    "log-odds, or what is best on other sets (--choose-on).",
)
@click.option(
    "--choose-on", metavar="FILE|FOLDER", help="Development sets on whose answers --by auto chooses, for each model."
)
@click.option(
    "--unigram",
    metavar="DIR",
    help="A kept unigram model (ngram:order=1) for slor; by default the counts of each model's vocabulary.",
)
@spelling_option(default="given", show_default=True)
@trained_line_option
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="Each set: table, tsv, jsonl. Accuracies: md, csv, and table for a folder.",
)
def rank(
    arguments: tuple[str, ...],
    by: Order | Literal["auto"],
    choose_on: str | None,
    unigram: str | None,
    spelling: str,
    line: Line,
    form: str,
) -> None:
    """Put the candidates of FILE, or of standard input, in order: the most plausible first.

    FILE holds JSON lines such as {"candidates": ["the dogs bark", "the dogs barks"], "answer": 0}, where the
    answer may be left out, or plain sentences with a blank line between two lists; minimal pairs of BLiMP are read as
    they are. A FOLDER of JSON lines, a paradigm in each file, gives a table of accuracies by paradigm and phenomenon.

    \b
    printf 'the dogs bark\\nthe dogs barks\\n' | lmbench rank results/run
    lmbench rank models/a models/b pairs.jsonl --format tsv
    lmbench rank results/run data/blimp --spelling ptb --format md
    lmbench rank models/a test.jsonl --by auto --choose-on dev.jsonl
    """
    from lmbench.cli.accuracies import print_accuracies
    from lmbench.cli.kept import find_models, load_one, note, note_source
    from lmbench.corpus import spelling as spellings
    from lmbench.models import registry
    from lmbench.tasks.candidates import respelled
    from lmbench.tasks.paradigms import signature

    folders, name = _models_and_candidates(arguments)
    paths, (respell, told) = find_models(folders), spellings.spelling(spelling)
    sets = respelled(_sets(name), respell)
    development = respelled(_development(by, choose_on, sets), respell)
    frequencies = load_one(unigram) if unigram else None
    summary = form in SUMMARIES or (form == "table" and Path(name).is_dir())
    if summary and all(s.answer is None for s in sets):
        raise UsageError(f"{name} has no answers, so there are no accuracies. Put the sets in order by --format tsv.")
    remarks = [f"What decides: {by}."] if summary and by != "auto" else []
    remarks += [f"Candidates {told}."] if summary or spelling != "given" else []
    rankings: dict[str, Ranking] = {}
    signatures: dict[str, str] = {}
    if form == "tsv":
        click.echo("\t".join(COLUMNS))
    for model_name, path in paths.items():
        model, began = registry.load(path), time.perf_counter()
        note_source(model_name, model)
        ranking, remark = _ranked(model, model_name, sets, by, line, frequencies, development, choose_on)
        remarks += remark
        rankings[model_name], signatures[model_name] = ranking, signature(ranking, model.tokenizer, spelling, line)
        if summary:
            note(f"{model_name}: {len(ranking.log_probs):,} candidates in {time.perf_counter() - began:.1f} s")
        else:
            _print_sets(model_name, ranking, form)
    if summary:
        if form == "csv":
            note(" ".join(remarks))
        print_accuracies(rankings, form, remarks, signatures)
        return
    _note_unknowns(rankings)
    found = [f"{model}: {_accuracy(r.overall)}" for model, r in rankings.items() if r.overall]
    for text in (*remarks, *found):
        click.echo(text, err=form != "table")


def _note_unknowns(rankings: Mapping[str, Ranking]) -> None:
    """Which models do not know how many of the words."""
    from lmbench.cli.kept import note

    models: dict[int, list[str]] = {}
    for name, ranking in rankings.items():
        if ranking.unknowns is not None and ranking.unknowns.any():
            models.setdefault(int(ranking.unknowns.sum()), []).append(name)
    for count, names in models.items():
        note(f"{count} of the tokens are unknown to {', '.join(names)} (lmbench score names them).")


def _ranked(
    model: LanguageModel,
    name: str,
    sets: Sequence[CandidateSet],
    by: Order | Literal["auto"],
    line: Line,
    frequencies: LanguageModel | None,
    development: Sequence[CandidateSet],
    choose_on: str | None,
) -> tuple[Ranking, list[str]]:
    """The sets in order, and what a reader must know of it."""
    from lmbench.tasks.ranking import rank as put_in_order

    remarks = [f"{name} reads both sides: its scores are pseudo-log-likelihoods."] if model.reads == "both" else []
    if by != "auto":
        return put_in_order(model, sets, by=by, line=line, unigram=frequencies), remarks
    choice = put_in_order(model, development, line=line, unigram=frequencies)
    order = choice.best_order()
    remarks.append(_chosen(name, choice, order, str(choose_on)))
    return put_in_order(model, sets, by=order, line=line, unigram=frequencies), remarks


def _models_and_candidates(arguments: Sequence[str]) -> tuple[list[str], str]:
    """The folders of models, and the file or folder of candidates, ``-`` where none is named."""
    from lmbench.cli.kept import models_and_file
    from lmbench.tasks.candidates import paradigm_files

    *folders, last = arguments
    path = Path(last)
    kept = (path / "model.json").is_file() or (path / "models").is_dir()
    if folders and path.is_dir() and not kept and paradigm_files(path):
        return folders, last
    return models_and_file(arguments)


def _development(by: str, choose_on: str | None, sets: Sequence[CandidateSet]) -> list[CandidateSet]:
    """The sets on which ``--by auto`` chooses: none where it is not asked for. Raises UsageError where it cannot be."""
    from lmbench.tasks.candidates import read_candidates

    if (by == "auto") != (choose_on is not None):
        raise UsageError(
            "--by auto and --choose-on FILE belong together: what decides is chosen on sets of their own, with answers."
        )
    found = [] if choose_on is None else read_candidates(choose_on)
    ranked = {frozenset(s.candidates) for s in sets}
    if common := sum(frozenset(s.candidates) in ranked for s in found):
        raise UsageError(
            f"{common} of the {len(found)} sets of {choose_on} are among those to be ranked, so the choice would be "
            "made on the answers that it is then judged by. Choose on other sets."
        )
    return found


def _sets(name: str) -> list[CandidateSet]:
    """The candidate sets of the file called ``name``, or of standard input."""
    from lmbench.cli.kept import standard_input
    from lmbench.tasks.candidates import parse_candidates, read_candidates

    return parse_candidates(standard_input(), "standard input") if name == "-" else read_candidates(name)


def _print_sets(model_name: str, ranking: Ranking, form: str) -> None:
    """Every set of ``ranking``, the best candidate first."""
    if form == "table":
        click.echo(f"{model_name}\n{'set':>6}  {'place':>5}  {'log_prob':>10}  {'per_token':>9}  {'answer':<6}  text")
    for row in _rows(model_name, ranking):
        click.echo(_written(row, form))


def _rows(model: str, ranking: Ranking) -> Iterator[dict[str, Any]]:
    for number in range(len(ranking)):
        for placed in ranking.ordered(number):
            values = (placed.place, placed.log_prob, placed.per_token, placed.events, placed.answer, placed.text)
            yield dict(zip(COLUMNS, (model, number + 1, *values), strict=True))


def _written(row: dict[str, Any], form: str) -> str:
    if form == "jsonl":
        return json_line(row)
    row = {**row, "text": " ".join(row["text"].split())}  # white space in a candidate must break no row
    mark = {None: "", True: "right", False: "wrong"}[row["answer"]]
    if form == "tsv":
        shown = {**row, "answer": mark, "place": f"{row['place']:g}"}
        shown |= {key: f"{row[key]:.6f}" for key in ("log_prob", "log_prob_per_token")}
        return "\t".join(str(value) for value in shown.values())
    opening = f"{row['set']:>6}" if row["place"] < 2 else " " * 6
    per_token = row["log_prob_per_token"]
    return f"{opening}  {row['place']:>5g}  {row['log_prob']:>10.4f}  {per_token:>9.4f}  {mark:<6}  {row['text']}"


def _accuracy(overall: Accuracy) -> str:
    """How often the right one leads, in words."""
    low, high = overall.interval
    return (
        f"the right candidate leads in {overall.correct:g} of {overall.sets} "
        f"({overall.accuracy:.1%}, 95 % interval {low:.1%} to {high:.1%}), "
        f"mean reciprocal rank {overall.mean_reciprocal_rank:.3f}"
    )


def _chosen(model: str, choice: Ranking, by: str, where: str) -> str:
    """What decides for ``model``, and why, in words."""
    shares = ", ".join(f"{order} {choice.ordered_by(order).accuracy:.1%}" for order in choice.orders)
    return f"{model}: decided by {by}, the best of the {len(choice)} sets of {where} ({shares})."
