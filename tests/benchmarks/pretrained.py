"""Speed of a pretrained checkpoint beside minicons: the same weights, sentences and numbers.

    python3 -m venv /tmp/minicons
    /tmp/minicons/bin/pip install torch==2.13.0
    /tmp/minicons/bin/pip install minicons
    python tests/benchmarks/pretrained.py --minicons /tmp/minicons/bin/python [--types 50257] [--out FILE.md]

minicons is no dependency of the project: it lives in an environment of its own, best with the same version of
torch. The checkpoint has the shape of GPT-2 with 4 layers of 256 and random weights; its byte-level pairs are learned
from the english grammar, up to 8,192 of them, of which there are about 3,500. With --types 50257 the output layer is as
large as GPT-2's own. The sentences are those of the grammar. Both sides turn sentences in memory into one log
probability each, with the boundary before and after it, on two threads; loading is not counted. minicons tries every
batch size on the first sentences and has all of them at its fastest; it runs between two halves of our runs, and each
side counts its fastest. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from lmbench.corpus.loading import load_corpus
from lmbench.corpus.tokenizers import BPEConfig, BPETokenizer
from lmbench.models.pretrained import Pretrained
from lmbench.scoring.scorer import score

SIZES = "1,2,4,8,10,12,16,24,32,64,128"
END = "<|endoftext|>"


def make(folder: Path, sentences: list[str], types: int | None) -> None:
    """Write the checkpoint as ``save_pretrained`` does."""
    from tokenizers import Tokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    learned = BPETokenizer.train(sentences, BPEConfig(8192)).to_dict()["model"]
    tokenizer = Tokenizer.from_str(json.dumps(learned))
    tokenizer.add_special_tokens([END])
    size = tokenizer.get_vocab_size()
    end = tokenizer.token_to_id(END)
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=types or size, n_embd=256, n_layer=4, n_head=4, n_positions=1024, bos_token_id=end, eos_token_id=end
    )
    GPT2LMHeadModel(config).eval().save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END).save_pretrained(folder)


def ours(model: Pretrained, sentences: list[str]) -> tuple[float, np.ndarray]:
    """Seconds, and the log probability of each sentence, nats."""
    began = time.perf_counter()
    found = -score(model, sentences).nats
    return time.perf_counter() - began, found


def main() -> None:
    """Print both times, their ratio, and by how much the numbers differ; with --out, write them as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minicons", metavar="PYTHON", default=sys.executable, help="of the environment that has it")
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--types", type=int, help="of the output layer; by default those of the tokenizer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tried", type=int, default=1000, help="sentences on which batch sizes are tried")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if subprocess.run([given.minicons, "-c", "import minicons"], capture_output=True, check=False).returncode:
        print(f"Skipped: {given.minicons} cannot import minicons. The head of this file says how to install it.")
        return
    torch.set_num_threads(given.threads)
    corpus = load_corpus("english", tokens=14 * given.sentences)
    sentences = corpus.train.units[: given.sentences]
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name) / "gpt2", Path(name) / "sentences.txt"
        make(folder, corpus.train.units, given.types)
        file.write_text("\n".join(sentences), encoding="utf-8")
        model = Pretrained.open(folder)
        ours(model, sentences[:32])  # the first call of all is slower
        before = [ours(model, sentences) for _ in range(given.runs)]
        command = [given.minicons, Path(__file__).with_name("minicons_scores.py"), folder, file, given.threads, SIZES]
        arguments = [*command, given.tried, given.runs]
        theirs = json.loads(subprocess.run(map(str, arguments), stdout=subprocess.PIPE, check=True).stdout)
        after = [ours(model, sentences) for _ in range(given.runs)]
    mine, other = min(seconds for seconds, _ in before + after), min(theirs["seconds"])
    difference = np.abs(before[0][1] - np.array(theirs["log_probs"])).max()
    tokens = model.tokenizer.encode(sentences).events
    sizes = ", ".join(f"{size}: {seconds:.2f}" for size, seconds in theirs["sizes"].items())
    report = (
        f"{len(sentences):,} sentences, {tokens:,} tokens; {model.parameters:,} parameters, "
        f"{len(model.tokenizer.vocabulary):,} types; {given.threads} threads; torch {torch.__version__}, there "
        f"{theirs['torch']}\n\n"
        f"| | seconds | tokens/s |\n| --- | ---: | ---: |\n"
        f"| lmbench | {mine:.2f} | {tokens / mine:,.0f} |\n"
        f"| minicons, batches of {theirs['best']} | {other:.2f} | {tokens / other:,.0f} |\n\n"
        f"{other / mine:.2f} times as fast; log probabilities of sentences differ by at most {difference:.1e} nats.\n"
        f"All runs, seconds: {', '.join(f'{s:.2f}' for s, _ in before)}; minicons "
        f"{', '.join(f'{s:.2f}' for s in theirs['seconds'])}; {', '.join(f'{s:.2f}' for s, _ in after)}.\n"
        f"minicons on {min(given.tried, len(sentences)):,} sentences, seconds by batch size: {sizes}.\n"
    )
    print(report)
    if given.out:
        given.out.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
