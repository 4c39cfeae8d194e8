"""Help at once, errors in one paragraph, exit statuses, and the two streams kept apart."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lmbench
from lmbench.cli import application
from lmbench.cli.application import COMMANDS
from tests.cli.conftest import Call, command, complaint, process


def test_help_names_every_command_and_imports_none_of_them() -> None:
    code = (
        "import sys\nfrom lmbench.cli.application import lmbench\n"
        "try: lmbench.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'rich', 'lmbench.cli.run', 'lmbench.models.registry'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


def test_help_answers_at_once() -> None:
    """Under 0.2 s, in seconds of the processor: other work on the machine does not count."""
    resource = pytest.importorskip("resource")
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert process("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_without_torch(name: str, call: Call) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    module, _, attribute = COMMANDS[name][0].partition(":")
    assert getattr(import_module(module), attribute).name == name
    assert process(name, "--help").returncode == 0
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_asked_is_answered_with_help(call: Call) -> None:
    result = call()
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: lmbench")


def test_version(call: Call) -> None:
    assert call("--version").stdout == f"lmbench {lmbench.__version__}\n"


def test_module_and_program_are_the_same(tmp_path: Path) -> None:
    assert process("--version", cwd=tmp_path).stdout == f"lmbench {lmbench.__version__}\n"


def test_unknown_command_names_the_nearest(call: Call) -> None:
    assert "Did you mean 'train'?" in complaint(call("trian"))


def test_unknown_option_names_the_nearest(call: Call) -> None:
    paragraph = complaint(call("run", "--modles", "ngram"))
    assert "--models" in paragraph
    assert paragraph.endswith("See: lmbench run --help")


def test_missing_argument_is_one_paragraph(call: Call) -> None:
    assert "DIR" in complaint(call("generate"))


def test_debug_shows_the_traceback_wherever_it_stands(call: Call) -> None:
    for arguments in (("--debug", "models", "lsmt"), ("models", "lsmt", "--debug")):
        result = call(*arguments)
        assert result.exit_code == 2
        assert "Traceback" in result.stderr


def test_a_fault_of_our_own_is_owned_up_to(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the table\nis upside down")

    monkeypatch.setattr("lmbench.models.registry.names", broken)
    result = call("models")
    assert result.exit_code == application.FAULT
    assert "fault of its own: RuntimeError: the table is upside down" in result.stderr
    assert "Traceback" not in result.stderr


def test_full_memory_is_one_paragraph(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("lmbench.models.registry.names", exhausted)
    assert "memory is full" in complaint(call("models"))


def test_a_reader_who_has_seen_enough_is_no_error(kept: Path, tmp_path: Path) -> None:
    text = tmp_path / "long.txt"
    text.write_text("the cat sleeps\n" * 20_000, encoding="utf-8")
    with subprocess.Popen(
        command("score", kept, text), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        assert writer.stdout.readline().split()[:3] == ["line", "model", "log_prob"]
        writer.stdout.close()
        assert writer.stderr.read() == ""
        assert writer.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_standard_output_is_told(kept: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the cat sleeps\n", encoding="utf-8")
    with open("/dev/full", "w", encoding="utf-8") as full:
        result = process("score", kept, text, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 2
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
