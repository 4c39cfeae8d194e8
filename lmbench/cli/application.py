"""Command line -> the command it names, and one paragraph instead of a traceback where that fails.

Exit status: 0 done, 1 a run finished with failed models, 2 wrong use or bad input, 70 a fault of
lmbench itself, 130 interrupted. Standard output carries results alone; everything else is said on
standard error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from lmbench import __version__
from lmbench.errors import LmbenchError, out_of_memory, unknown_name

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("lmbench.cli.run:run", "Train several models on one corpus and compare them."),
    "train": ("lmbench.cli.train:train", "Train one model and keep it."),
    "eval": ("lmbench.cli.evaluate:evaluate", "Perplexity of kept models on a corpus."),
    "score": ("lmbench.cli.score:score", "Log probability of every line of a text."),
    "rank": ("lmbench.cli.rank:rank", "Candidate sentences, the most plausible first."),
    "rescore": ("lmbench.cli.rescore:rescore", "The hypothesis to believe in n-best lists, and its error rates."),
    "correct": ("lmbench.cli.correct:correct", "The sentences that were probably meant, and what was changed."),
    "next": ("lmbench.cli.next:next_words", "The likeliest next words after a text."),
    "generate": ("lmbench.cli.generate:generate", "Write text with a kept model."),
    "prune": ("lmbench.cli.prune:prune", "Make a kept n-gram model smaller."),
    "mix": ("lmbench.cli.mix:mix", "Kept models -> a kept mixture, its weights learned on held-out text."),
    "compare": ("lmbench.cli.compare:compare", "Who is better than whom, in one run or several, and how sure that is."),
    "report": ("lmbench.cli.report:report", "Rebuild the tables and plots of a run."),
    "corpus": ("lmbench.cli.corpus:corpus", "List, show and obtain corpora."),
    "convert": ("lmbench.cli.convert:convert", "To and from ARPA files; from KenLM binaries."),
    "models": ("lmbench.cli.models:models", "List the model families, or the settings of one."),
}
"""name -> (where the command is, what it does): enough for ``--help`` without importing one of them."""

FAULT = 70
INTERRUPTED = 130


class Application(click.Group):
    """The commands, imported when they are called; errors as one paragraph each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return getattr(import_module(module), attribute)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise unknown_name("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any) -> NoReturn:
        """Run the command that ``args`` name and exit with its status."""
        arguments = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in arguments
        arguments = [argument for argument in arguments if argument != "--debug"]
        from lmbench.training.distributed import processes

        status = self._status(arguments, prog_name or "lmbench", debug)
        if not processes().alone:  # threads of their connections may abort an orderly end
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        sys.exit(status)

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command; of several processes only the first prints, and none ends before it has."""
        from lmbench.training.distributed import processes

        if processes().alone:
            return super().invoke(ctx)
        with contextlib.nullcontext() if processes().leads else _silent():
            try:
                super().invoke(ctx)
            except click.exceptions.Exit:  # some model of a run failed; all processes know
                processes().leave()
                raise
            processes().leave()

    def _status(self, arguments: list[str], program: str, debug: bool) -> int:
        """Run; say what went wrong, if something did; return the exit status."""
        try:
            with self.make_context(program, list(arguments), obj=arguments) as context:
                self.invoke(context)
            sys.stdout.flush()
        except click.exceptions.Exit as stop:
            return stop.exit_code
        except (KeyboardInterrupt, click.Abort) as stop:
            complain(str(stop) or "Interrupted.", debug)
            return INTERRUPTED
        except click.ClickException as error:
            complain(_usage(error), debug)
            return 2
        except LmbenchError as error:
            complain(str(error), debug)
            return 2
        except OSError as error:
            return _failed_output(error, debug)
        except Exception as error:  # noqa: BLE001 - the last line of defence: no user should meet a traceback
            if out_of_memory(error):
                complain("The memory is full, of machine or card. Choose a smaller model, corpus or context.", debug)
                return 2
            from lmbench.training.distributed import lost

            if lost(error):
                complain(
                    "Another process of this training has ended, perhaps because memory ran out, or it cannot be "
                    "reached any more. What was kept is intact: go on with --resume.",
                    debug,
                )
                return 2
            kind = type(error).__name__
            complain(f"lmbench failed, which is a fault of its own: {kind}: {error}. Add --debug to see where.", debug)
            return FAULT
        return 0


def complain(message: str, debug: bool = False) -> None:
    """One paragraph on standard error, broken at the width of the terminal; the traceback with ``debug``.

    Of several processes only the first that has something to tell speaks.
    """
    from lmbench.training.distributed import processes

    if not processes().speaks():
        return
    if debug:
        traceback.print_exc()
    paragraph = "lmbench: " + " ".join(message.split())
    if sys.stderr.isatty():
        paragraph = textwrap.fill(paragraph, shutil.get_terminal_size().columns, break_long_words=False)
    click.echo(paragraph, err=True)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing is printed within it."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def _usage(error: click.ClickException) -> str:
    """What click found wrong, and where the options are described."""
    message = error.format_message().strip()
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{message} See: {context.command_path} --help" if context else message


def _failed_output(error: OSError, debug: bool) -> int:
    """A reader who has seen enough (``| head``) is no error; a full disk is."""
    if error.errno == errno.EPIPE:
        _silence_output()
        return 0
    where = f" {error.filename}" if error.filename else ""
    complain(f"The system refused{where}: {error.strerror or error}. Nothing that was written before is lost.", debug)
    if error.errno == errno.ENOSPC:
        _silence_output()
    return 2


def _silence_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not fail on it at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # a stand-in for standard output has no file beneath it
        return


@click.group(cls=Application, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lmbench", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (anywhere on the line).")
@click.pass_context
def lmbench(context: click.Context, debug: bool) -> None:
    """Train language models of every generation on the same text and compare them in one honest table.

    A model is written name or name:key=value:key=value, such as ngram:order=3 or lstm:hidden=256; models
    are separated by commas. A corpus is a name (lmbench corpus list), a text file, or a folder.

    Results go to standard output; progress, notes and errors to standard error.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
