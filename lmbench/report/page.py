"""The folder of a run -> ``report.html``: one file that needs nothing else, for a screen, a telephone and paper.

The words and the order of the page stand in ``templates/page.html``; numbers come from the same functions as the
tables. Sections without data are left out. The same files give the same page, byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from lmbench import __version__
from lmbench.benchmark.results import Result, RunFolder
from lmbench.errors import ResultsError
from lmbench.report import contents, islands
from lmbench.report.accuracies import compare_accuracies
from lmbench.report.comparison import Comparison, compared
from lmbench.report.plots import Plots, draw, token_scores, write_plots
from lmbench.report.summary import spell, summarize
from lmbench.report.tables import groups, notes, size_tables, tabulate, write_tables

PICTURES = (
    ("sizes", "How much text each needs", ""),
    ("perplexity", "Perplexity", ""),
    ("cost", "Quality against cost", "Dashed: the Pareto front, the models that no other beats in both at once."),
    ("curves", "Learning curves", ""),
    ("phenomena", "Accuracy by phenomenon", ""),
    ("breakdowns", "Where the models differ", ""),
)
"""Section, heading and what stands under it, in the order of the page."""
OTHERS = (
    ("reader", "Reader"),
    ("different", "Most different sentences"),
    ("samples", "Generated text"),
    ("published", "Published figures"),
    ("comparisons", "Pairwise comparisons"),
)
TEMPLATES = "templates"


def write_report(path: str | Path) -> list[Path]:
    """Write every table, every plot and ``report.html`` of the run in the folder ``path`` anew; the files.

    Raises ResultsError where the folder is not that of a run, a file of it is damaged, or cannot be written.
    """
    folder = RunFolder(path)
    plots = draw(folder, folder.read_results())
    return [*write_tables(path), *write_plots(path, plots), write_page(path, plots)]


def write_page(path: str | Path, plots: Plots | None = None) -> Path:
    """Write ``report.html`` into the folder ``path``. ``plots``: what ``draw`` gave, where it is at hand."""
    folder = RunFolder(path)
    folder.write_text("report.html", page(folder, plots))
    return folder.path / "report.html"


def page(folder: RunFolder, plots: Plots | None = None) -> str:
    """The page as HTML. Raises ResultsError where a file of the run is damaged."""
    facts, results = folder.read_facts(), folder.read_results()
    plots = draw(folder, results) if plots is None else plots
    content = _contents(folder, facts, results, plots)
    content["sections"] = [
        *((name, heading) for name, heading, _ in PICTURES if plots.get(name) or content.get(name)),
        *((name, heading) for name, heading in OTHERS if content[name]),
    ]
    return _environment().get_template("page.html").render(content)


def _contents(folder: RunFolder, facts: dict[str, Any], results: Sequence[Result], plots: Plots) -> dict[str, Any]:
    """Every name that the template uses."""
    apart = groups(results)
    ranked = [result for group in apart for result in group.results]
    ranked.sort(key=lambda result: result.kind == "source")  # models first
    labels = list(dict.fromkeys(result.label for result in ranked))
    language = str((facts.get("corpus") or {}).get("language") or "und")
    heldout = folder.read_heldout()
    reader = islands.reader(folder.read_reader(), labels, heldout.separator if heldout else " ")
    different = islands.different(token_scores(folder), labels)
    environment, marks = folder.read_environment(), compared(folder)
    p_values = {frozenset((pair.first, pair.second)): pair.adjusted for pair in marks.pairs}
    return {
        "version": __version__,
        "title": _title(facts, results),
        "kicker": _kicker(facts, environment),
        "summary": summarize(results, p_values),
        "tables": [*size_tables(results), *(tabulate(group, marks) for group in apart)],
        "notes": notes(results, marks),
        "pictures": PICTURES,
        "plots": {name: plots.get(name, ()) for name, _, _ in PICTURES},
        "phenomena": contents.phenomena(results),
        "reader": reader,
        "different": different,
        "samples": contents.samples(folder.read_samples(), results),
        "published": contents.published(results),
        "comparisons": contents.comparisons(marks, *_rankings(folder)),
        "language": language,
        "recipe": folder.recipe.read_text(encoding="utf-8").strip() if folder.recipe.is_file() else "",
        "text": contents.text(facts),
        "environment": contents.environment(environment),
        "signatures": [(result.label, result.signature) for result in results if result.signature],
        "data": {"language": language, "reader": reader, "different": different},
        "style": Markup(_file("style.css")),
        "script": Markup(_file("page.js")),
    }


def _rankings(folder: RunFolder) -> tuple[list[Comparison], list[str]]:
    """How the models differ in their rankings, and what is not told of that."""
    try:
        return compare_accuracies([folder])
    except ResultsError as error:
        return [], [str(error)]


def _title(facts: dict[str, Any], results: Sequence[Result]) -> str:
    """What was compared on what."""
    name = (facts.get("corpus") or {}).get("name") or "a text"
    count = len({result.model for result in results if result.kind != "source"})
    if not count:
        return f"Language models on {name}"
    return f"{spell(count).capitalize()} language model{'s' if count > 1 else ''} on {name}"


def _kicker(facts: dict[str, Any], environment: dict[str, Any]) -> str:
    """When, and by which version."""
    parts = [f"lmbench {facts['lmbench']}" if facts.get("lmbench") else "lmbench"]
    if date := environment.get("date"):
        begun = datetime.fromisoformat(date)
        parts.append(f"{begun.day} {begun:%B %Y}")
    return ", ".join(parts)


@lru_cache
def _environment() -> Any:
    """jinja2 with the templates of the package: whatever a run holds is text, never markup."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lmbench.report", TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["island"] = islands.island
    environment.filters["markup"] = Markup
    environment.filters["breakable"] = breakable
    return environment


def breakable(name: str) -> Markup:
    """The name of a model, which may go on in the next line between its settings.

    >>> breakable("lstm:hidden=<8>")
    Markup('lstm:<wbr>hidden=&lt;8&gt;')
    """
    return Markup(re.sub(r"([:+(])", r"\1<wbr>", str(escape(name))))


def _file(name: str) -> str:
    return files("lmbench.report").joinpath(TEMPLATES, name).read_text(encoding="utf-8")
