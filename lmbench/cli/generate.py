"""A kept model + a prompt -> texts, one a line (a blank line between texts that have lines of their own)."""

from __future__ import annotations

import click


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--prompt", default="", metavar="TEXT", help="What each text starts with.")
@click.option("-n", "count", type=int, default=1, show_default=True, help="How many texts.")
@click.option(
    "--temperature", type=float, default=1.0, show_default=True, help="1 is the model itself, 0 its best guess."
)
@click.option("--top-k", type=int, help="Draw among the k likeliest tokens only.")
@click.option("--top-p", type=float, help="Draw among the fewest tokens that hold this probability.")
@click.option("--max-tokens", type=int, default=100, show_default=True, help="New tokens at most.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same texts.")
def generate(
    directory: str,
    prompt: str,
    count: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    max_tokens: int,
    seed: int,
) -> None:
    """Write text with the model kept in DIR, one text a line.

    \b
    lmbench generate results/run/models/gpt -n 5 --prompt "the old man"
    lmbench generate my-model --temperature 0.7 --top-p 0.9
    """
    from lmbench.cli.kept import load_one, note
    from lmbench.tasks.generation import generate as write

    check_text(prompt)
    model = load_one(directory)
    unknown = model.tokenizer.encode([prompt]).unknowns if prompt else 0
    if unknown:
        note(f"{unknown} of the prompt's tokens are unknown to this model; it reads them as <unk>.")
    texts = write(
        model, prompt, count, temperature=temperature, top_k=top_k, top_p=top_p, max_tokens=max_tokens, seed=seed
    )
    click.echo(("\n\n" if any("\n" in text for text in texts) else "\n").join(texts))


def check_text(prompt: str) -> None:
    """Raise UsageError where the shell handed over bytes that are no text: Python keeps them as lone surrogates."""
    from lmbench.errors import UsageError

    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The prompt is not valid UTF-8 from its character {error.start + 1} on. Write it in UTF-8."
        ) from None
