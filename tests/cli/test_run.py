"""``lmbench run``: from a text to a table, wrong requests refused before anything is trained, Ctrl-C and back."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Call, command, complaint, process

TINY = "lstm:hidden=16:batch_size=4:sequence_length=8:device=cpu"


def test_a_run_ends_in_a_table_and_a_folder(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    result = call("run", "--models", f"uniform,ngram:order=2,{TINY}", "--corpus", corpus_file, "--budget", "5steps")
    assert result.exit_code == 0, result.stderr
    table = result.stdout
    assert "perplexity" in table
    assert "ppl|corpus:world@" in table
    assert table.index("ngram:order=2 ") < table.index("uniform ")
    assert "structure" in result.stderr
    assert "structure" not in table
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name.endswith("-world-uniform-ngram-lstm")
    assert str(folder.relative_to(tmp_path)) in result.stderr
    for name in ("recipe.toml", "environment.json", "metrics.json", "table.csv", "table.md", "candidates.csv"):
        assert (folder / name).is_file(), name
    assert len(list((folder / "models").glob("*/model.json"))) == 3


def test_the_forms_of_the_table(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    common = ("run", "--models", "uniform", "--corpus", corpus_file, "--budget", "1steps", "--out", "out", "--format")
    text = call(*common, "csv")
    assert text.stdout == (tmp_path / "out/table.csv").read_text(encoding="utf-8")
    assert text.stdout.startswith("model,seed,perplexity")
    assert call(*common, "md", "--resume").stdout == (tmp_path / "out/table.md").read_text(encoding="utf-8")
    assert "|" not in call(*common, "text", "--resume").stdout.splitlines()[2]


def test_a_report_is_rebuilt_from_disk(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    first = call("run", "--models", f"uniform,{TINY}", "--corpus", corpus_file, "--budget", "5steps", "--out", "out")
    names = ("table.csv", "table.md", "report.html", "plots/learning_curves_seconds.svg", "plots/perplexity.png")
    before = {name: (tmp_path / "out" / name).read_bytes() for name in names}
    for name in names:
        (tmp_path / "out" / name).unlink()
    again = call("report", "out")
    assert again.stdout == first.stdout
    assert {name: (tmp_path / "out" / name).read_bytes() for name in names} == before
    assert "is not the folder of a run" in complaint(call("report", "nowhere"))


def test_a_report_of_what_is_no_run_is_refused(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    assert "is not the folder of a run" in complaint(call("report", corpus_file))
    assert "is not the folder of a run" in complaint(call("report", tmp_path))


def test_a_recipe_file_and_options_that_go_before_it(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f'models = ["uniform", "ngram:order=2"]\ncorpus = "{corpus_file}"\nbudget = "1steps"\n', "utf-8")
    assert call("run", "--recipe", recipe, "--models", "uniform", "--out", "one").exit_code == 0
    assert 'models = ["uniform"]' in (tmp_path / "one/recipe.toml").read_text(encoding="utf-8")
    result = call("run", "--recipe", recipe, "--out", "two")
    assert "ngram:order=2" in result.stdout


def test_budgets_of_single_models(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    recipe, tiny = tmp_path / "mine.toml", "rnn:hidden=4:batch_size=2:sequence_length=5:device=cpu"
    content = f'models = ["long={tiny}", "{tiny}:seed=2"]\ncorpus = "{corpus_file}"\nbudget = "1steps"\n'
    recipe.write_text(f'{content}[budgets]\nlong = "4steps"\n', "utf-8")
    result = call("run", "--recipe", recipe, "--out", "one")
    assert result.exit_code == 0, result.stderr
    assert "Budgets of their own: long 4steps." in result.stderr
    result = call("run", "--recipe", recipe, "--budget", "2steps", "--out", "two")
    assert "No model has a budget of its own, as in the recipe: all have 2steps." in result.stderr
    assert "[budgets]" not in (tmp_path / "two/recipe.toml").read_text(encoding="utf-8")
    recipe.write_text(f'{content}[budgets]\nlongest = "4steps"\n', "utf-8")
    assert "Did you mean 'long'" in complaint(call("run", "--recipe", recipe))


def test_the_recipe_of_a_paper_on_a_text_of_ones_own(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    result = call("run", "--recipe", "zaremba-small", "--corpus", corpus_file, "--budget", "2steps", "--out", "out")
    assert result.exit_code == 0, result.stderr
    assert "zaremba-small" in result.stdout
    assert "published" not in result.stdout, "the paper's figure is not of this text"
    assert "What was published is left out" in result.stderr
    assert "zaremba-small is lstm:" in result.stderr
    assert call("run", "--recipe", "zaremba-small", "--corpus", corpus_file, "--budget", "2steps", "--out", "out",
                "--resume").stdout == result.stdout  # fmt: skip


def test_a_published_figure_is_shown_with_its_source(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    figures = '[published.uniform]\nfigure = 12.3\nsource = "Somebody 1999, table 2"\n'
    recipe.write_text(f'models = ["uniform", "ngram:order=2"]\ncorpus = "{corpus_file}"\n{figures}', encoding="utf-8")
    result = call("run", "--recipe", recipe, "--out", "out")
    assert result.exit_code == 0, result.stderr
    heading = next(line for line in result.stdout.splitlines() if line.startswith("model "))
    assert "published" in heading
    assert "as published, here" not in heading, "it is the perplexity that stands in the row anyway"
    assert " 12.3 " in next(line for line in result.stdout.splitlines() if line.startswith("uniform "))
    source = "Published of uniform: 12.3, perplexity of test. Somebody 1999, table 2."
    assert source in result.stderr
    assert source in call("report", "out", "--format", "md").stdout


def test_candidates_of_the_user_are_ranked(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"candidates": ["the cat sleeps", "cat the sleeps"], "answer": 0}\n', encoding="utf-8")
    result = call("run", "--models", "ngram:order=2", "--corpus", corpus_file, "--candidates", pairs, "--out", "out")
    assert result.exit_code == 0, result.stderr
    assert "100.0" in result.stdout


def test_a_failed_model_is_told_and_the_others_go_on(
    call: Call, corpus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmbench.models.uniform import Uniform

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no luck")

    monkeypatch.setattr(Uniform, "fit", broken)
    result = call("run", "--models", "uniform,ngram:order=2", "--corpus", corpus_file, "--budget", "1steps")
    assert result.exit_code == 1
    assert "ngram:order=2" in result.stdout
    assert "uniform failed: RuntimeError: no luck" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--models", "ngarm"), "Did you mean 'ngram'?"),
        (("--models", "ngram:oder=3"), "Did you mean 'order'?"),
        (("--models", "ngram:order=x"), "whole number"),
        (("--models", ""), "No model"),
        (("--budget", "0"), "budget"),
        (("--budget", "soon"), "60s"),
        (("--tokenizer", "wrod"), "Did you mean 'word'?"),
        (("--device", "gpu"), "device"),
        (("--seeds", "0"), "at least 1"),
        (("--seeds", "many"), "--seeds"),
        (("--candidates", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--recipe", "nowhere.toml"), "nowhere.toml"),
        (("--recipe", "zaremba-smal"), "Did you mean 'zaremba-small'? Known: bengio, best-ptb"),
        (("--context", "steam"), "stream"),
        (("--resume",), "--out DIR --resume"),
    ],
)
def test_wrong_use_is_refused(arguments: tuple[str, ...], words: str, call: Call, corpus_file: Path) -> None:
    assert words in complaint(call("run", "--models", "lstm", "--corpus", corpus_file, *arguments))
    assert not Path("results").exists(), "nothing is written for what cannot be"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "world.tx"),
        (b"", "empty"),
        (b"\x00\x01\x02\x03" * 100, "NUL"),
        (b"the cat sleeps\nthe d\xffg\n" * 40, "line 2"),
        (b"   \n\n  \n", "no text"),
    ],
    ids=["missing", "empty", "binary", "invalid UTF-8", "blank"],
)
def test_a_corpus_that_is_no_text_is_refused(content: bytes | None, words: str, call: Call, tmp_path: Path) -> None:
    path = tmp_path / "world.tx"
    if content is not None:
        path.write_bytes(content)
    assert words in complaint(call("run", "--models", "uniform", "--corpus", path))


def test_an_unknown_corpus_names_the_nearest(call: Call) -> None:
    assert "Did you mean 'shakespeare'?" in complaint(call("run", "--corpus", "shakspere"))


def test_a_folder_of_paradigms_in_the_spelling_of_the_corpus(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    for name, good, bad in (
        ("order", "The cat sleeps.", "Cat the sleeps."),
        ("end", "A bird runs home!", "A bird runs!"),
    ):
        line = json.dumps({"sentence_good": good, "sentence_bad": bad, "UID": name, "linguistics_term": "syntax"})
        (tmp_path / f"pairs/{name}.jsonl").write_text(line + "\n", encoding="utf-8")
    settings = ("--candidates", "pairs", "--spelling", "ptb", "--out", "out")
    assert call("run", "--models", "ngram:order=2", "--corpus", corpus_file, *settings).exit_code == 0
    facts = json.loads((tmp_path / "out/metrics.json").read_text(encoding="utf-8"))
    assert facts["candidates"]["origin"].startswith("pairs, in the spelling of the Penn Treebank")
    ranking = facts["results"][0]["details"]["ranking"]
    assert set(ranking["paradigms"]) == {"order", "end"}
    assert ranking["phenomena"]["syntax"]["unknown"] == 0
    assert ranking["macro_accuracy"] == 0.5 * sum(part["accuracy"] for part in ranking["paradigms"].values())
    assert {"by_token", "by_character", "by_slor"} <= set(ranking)


def test_a_broken_line_of_candidates_is_named(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    broken = tmp_path / "pairs.jsonl"
    broken.write_text('{"candidates": ["a b", "b a"]}\n{"candidates": ["a b", \n', encoding="utf-8")
    paragraph = complaint(call("run", "--corpus", corpus_file, "--candidates", broken))
    assert "line 2, column" in paragraph


def test_a_candidate_that_holds_the_boundary_is_told_before_training(
    call: Call, corpus_file: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"candidates": ["a b", "b a"]}\n{"candidates": ["a </s> b", "b"]}\n', encoding="utf-8")
    paragraph = complaint(call("run", "--corpus", corpus_file, "--candidates", pairs, "--out", "out"))
    assert "pairs.jsonl, line 2: " in paragraph
    assert not (tmp_path / "out/metrics.json").exists()


def test_an_output_folder_that_is_a_file(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    result = call("run", "--models", "uniform", "--corpus", corpus_file, "--out", "taken")
    assert "taken" in complaint(result)
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "mine"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, where not even root may write")
def test_an_output_folder_that_cannot_be_written(call: Call, corpus_file: Path) -> None:
    paragraph = complaint(call("run", "--models", "uniform", "--corpus", corpus_file, "--out", "/proc/self/run"))
    assert "/proc/self/run" in paragraph
    assert "--out" in paragraph


def test_a_full_disk_is_told(call: Call, corpus_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object, **__: object) -> int:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_text", full)
    result = call("run", "--models", "uniform", "--corpus", corpus_file, "--out", "out")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_in_use_is_not_overwritten(call: Call, corpus_file: Path) -> None:
    first = ("run", "--models", "uniform", "--corpus", corpus_file, "--out", "out")
    assert call(*first).exit_code == 0
    assert "--resume" in complaint(call(*first))
    assert call(*first, "--resume").exit_code == 0
    assert call("run", "--out", "out", "--resume").exit_code == 0, "the recipe lies in the folder"
    more = call("run", "--out", "out", "--resume", "--models", "uniform,ngram:order=2")
    assert more.exit_code == 0
    assert "1 of 2 models were finished before" in more.stderr
    assert "tokenizer: " in complaint(call("run", "--out", "out", "--resume", "--tokenizer", "char"))


def test_ctrl_c_keeps_what_was_done_and_the_run_goes_on(corpus_file: Path, tmp_path: Path) -> None:
    """SIGINT in the second of two models; the exact command that is printed finishes the run."""
    arguments = ["run", "--models", f"ngram:order=2,{TINY}", "--corpus", str(corpus_file), "--budget", "300steps"]
    slow = [*arguments, "--out", "out"]
    environment = {**os.environ, "LMBENCH_CACHE": str(tmp_path / "cache"), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command(*slow), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "backward" in line and "lstm" in line:
                break
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
        assert running.stdout is not None
        assert running.stdout.read() == ""
        running.wait()
    assert running.returncode == 130, rest
    assert "Traceback" not in rest
    again = rest.rstrip().rpartition("Go on with: lmbench ")[2]
    assert again.split()[-1] == "--resume"
    assert (tmp_path / "out/models/ngram-order=2/model.json").is_file()
    result = process(*shlex.split(again), cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    assert "ngram:order=2" in result.stdout
    assert "lstm" in result.stdout
    assert "goes on from step" in result.stderr


def test_training_sizes_as_a_user_types_them(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    result = call("run", "--models", "uniform,ngram:order=2", "--corpus", corpus_file, "--train-sizes", "1k,1.5e3,full",
                  "--out", "out")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    heading, uniform, ngram = (line.split() for line in result.stdout.splitlines()[2:5])
    assert heading[:3] == ["model", "1,000", "1,500"]
    assert len(set(uniform[1:])) == 1, "it knows nothing on any amount of text"
    assert float(ngram[1]) > float(ngram[2]) > float(ngram[3])
    assert "ngram:order=2 (1,500 tokens): ppl|corpus:world@" in result.stdout
    assert "|train:1500|" in result.stdout
    assert "A training size is a part of the training split" in result.stderr
    assert (tmp_path / "out/plots/train_sizes.svg").is_file()
    assert (tmp_path / "out/plots/train_sizes.png").is_file()
    again = call("report", "out")
    assert again.stdout == result.stdout
    assert call("run", "--out", "out", "--resume").stdout == result.stdout, "nothing is trained anew"


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ("1e4,many", "'many' is not a training size. Write a number of tokens, 10000, 1e4, 10k or 1m, or full."),
        ("2k,1k", "must rise"),
        ("10", "at least 1,000"),
    ],
)
def test_training_sizes_that_cannot_be(sizes: str, words: str, call: Call, corpus_file: Path) -> None:
    arguments = ("run", "--models", "uniform", "--corpus", corpus_file, "--train-sizes", sizes, "--out", "out")
    assert words in complaint(call(*arguments))
    assert not Path("out").exists()
