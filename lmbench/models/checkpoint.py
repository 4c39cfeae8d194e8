"""The folder of a pretrained model -> a network: ids -> hidden states where they are asked for -> log probabilities.

Opened with the library ``transformers`` from the folder alone: its safetensors, never a pickle, never the network, and
never code that lies in the folder.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from lmbench.corpus.huggingface import CONFIG_FILE, TOKENIZER_FILE, read_json
from lmbench.errors import ModelError
from lmbench.models.softmax import log_probs_of

WEIGHTS = "model.safetensors", "model.safetensors.index.json"
PICKLES = "pytorch_model*.bin*", "*.pt", "*.pth", "*.ckpt"
TANH_GELU = "NewGELUActivation", "FastGELUActivation", "GELUTanh"
"""What ``transformers`` calls the tanh form of GELU."""
LONGEST = 1024
"""Tokens that are read at once, at most, unless a user asks for more: attention costs their square."""
EXACT = 1e-3
"""Nats or logits by which two ways of computing the same may differ; a wrong way is off by far more."""


def check_files(folder: Path) -> dict[str, Any]:
    """The content of config.json. Raises ModelError where ``folder`` lacks a file, or has its weights as a pickle."""
    facts = read_json(folder, CONFIG_FILE)
    if not any((folder / name).is_file() for name in WEIGHTS):
        if found := sorted(path.name for pattern in PICKLES for path in folder.glob(pattern)):
            raise ModelError(
                f"The weights in {folder} are in {found[0]}, a pickle, which can run any program when it is opened, so "
                "it never is. If you trust it, write them as model.safetensors, outside lmbench: load the folder with "
                "transformers and call save_pretrained. Checkpoints published with safetensors need no such step."
            )
        raise ModelError(f"{folder} holds no weights: there is no {WEIGHTS[0]} in it. Copy it from the checkpoint.")
    if not (folder / TOKENIZER_FILE).is_file():
        read_json(folder, TOKENIZER_FILE)  # says what is missing
    return facts


def is_masked(facts: dict[str, Any]) -> bool:
    """Whether the model of this config.json predicts what is hidden from both sides."""
    return any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in facts.get("architectures") or ())


class Network:
    """A pretrained network, in float32 whatever its file holds: nothing less agrees with itself to 1e-4.

    ``window``: tokens that it can read at once; None where nothing limits it. ``parameters``: trained numbers.
    Numbers of types are the checkpoint's own. Where the logits are a matrix times the last hidden states, as in nearly
    all families, the softmax over them is computed here, block by block and only where it is asked for.
    """

    def __init__(self, folder: Path, masked: bool, device: torch.device) -> None:
        self.device = device
        self.model = _opened(folder, masked).to(device).float().eval()
        self.model.config.use_cache = False
        _simplify(self.model)
        self.parameters = sum(weight.numel() for weight in self.model.parameters())
        self.window = _window(self.model)
        self._places: tuple[Tensor, Tensor] | None = None
        self._states: Tensor | None = None
        self._softmax: tuple[Tensor, Tensor] | None = None  # (V, E) and (V,), the last matrix and its bias
        head = self.model.get_output_embeddings()
        if isinstance(head, nn.Linear):
            head.register_forward_pre_hook(self._select)
            weight = head.weight.detach()
            self._softmax = weight, weight.new_zeros(len(weight)) if head.bias is None else head.bias.detach()
        self._check(folder, masked)

    def _select(self, head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor] | None:
        """What goes into the last matrix: (B, T, E) -> the states at the asked places, kept; nothing goes on."""
        if self._places is None:
            return None
        self._states = inputs[0][self._places]  # (N, E)
        return (inputs[0][:, :0],)

    @torch.inference_mode()
    def _check(self, folder: Path, masked: bool) -> None:
        """Find out whether the logits are those of the last matrix alone, and the future is hidden."""
        ids = torch.arange(6, device=self.device)[None].repeat(2, 1)  # (2, 6)
        ids[1, 5] = 6 % self.model.config.get_text_config().vocab_size
        logits = self.model(input_ids=ids).logits.float()  # (2, 6, V)
        if not masked and not torch.allclose(logits[0, :5], logits[1, :5], atol=EXACT):
            raise ModelError(
                f"{folder} holds {type(self.model).__name__}, which reads what follows a token to predict it: it does "
                "not read to the left. Masked models are recognised by ForMaskedLM among the architectures in their "
                "config.json."
            )
        if self._softmax is None:
            return
        places = torch.tensor([0, 1, 1], device=self.device), torch.tensor([2, 0, 4], device=self.device)
        states = self.states(ids, *places)
        same = states.shape[1] == self._softmax[0].shape[1] and torch.allclose(
            self.log_softmax(states), torch.log_softmax(logits[places], 1), atol=EXACT
        )
        self._softmax = self._softmax if same else None

    def states(self, ids: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """int64 (B, T), and N places in it -> (N, E): what the last matrix reads there; with no such matrix, logits."""
        if self._softmax is None:
            return self.model(input_ids=ids).logits[row, column]
        self._places = row, column
        try:
            self.model(input_ids=ids)
            states, self._states = self._states, None
        finally:
            self._places = None
        if states is None:
            raise ModelError(f"{type(self.model).__name__} does not pass through its last matrix; it cannot be scored.")
        return states

    def log_probs(self, states: Tensor, targets: Tensor) -> Tensor:
        """What ``states`` gave for N places, int64 (N,) -> float32 (N,): ln p of the targets, nats."""
        if self._softmax is None:
            return torch.log_softmax(states.float(), 1).gather(1, targets[:, None])[:, 0]
        return log_probs_of(states, *self._softmax, targets)

    def log_softmax(self, states: Tensor) -> Tensor:
        """What ``states`` gave for N places -> float32 (N, V), nats."""
        logits = states.float() if self._softmax is None else nn.functional.linear(states, *self._softmax)
        return torch.log_softmax(logits, 1)


def _opened(folder: Path, masked: bool) -> Any:
    """The model as ``transformers`` opens it, with every weight read from the file."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before the library is first imported: it never asks the network
    try:
        import transformers
    except ImportError:
        raise ModelError(
            f"To read the pretrained model in {folder} the library transformers is needed, which is not installed: "
            "pip install transformers, or install lmbench with its extra: pip install 'lmbench[pretrained]'."
        ) from None
    family = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    try:
        with _quiet(transformers):
            opened: Any = family.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True,
                output_loading_info=True,
            )  # fmt: skip
            model, report = opened
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, ImportError, SafetensorError) as error:
        said = " ".join(str(error).split())
        raise ModelError(
            f"transformers {transformers.__version__} cannot open {folder} as a language model: "
            f"{said[:400].rstrip('.')}. Copy the checkpoint again, or take one that AutoModelForCausalLM or "
            "AutoModelForMaskedLM opens."
        ) from None
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"The weights in {folder} lack {len(missing)} of those of {type(model).__name__}, such as {missing[0]}: "
            "they are not a whole language model, which would answer at random. Take a checkpoint that was saved with "
            "its output layer."
        )
    return model


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no remarks of the library; standard error is for our own."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def _simplify(model: nn.Module) -> None:
    """Let the tanh form of GELU be computed in half the time, wherever the model has it."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child).__name__ in TANH_GELU or (isinstance(child, nn.GELU) and child.approximate == "tanh"):
                setattr(module, name, SigmoidGELU())


class SigmoidGELU(nn.Module):
    """GELU(x) = x sigmoid(2u), which is x (1 + tanh u) / 2, with u = sqrt(2 / pi) (x + 0.044715 x^3): the form of GPT-2
    (Hendrycks & Gimpel 2016). A CPU computes the sigmoid in a fraction of the time of tanh.

    >>> SigmoidGELU()(torch.tensor([-1.0, 0.0, 2.0]))
    tensor([-0.1588,  0.0000,  1.9546])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        scale = 2 * (2 / math.pi) ** 0.5
        return (x * x).mul_(0.044715 * scale).add_(scale).mul_(x).sigmoid_().mul_(x)


def _window(model: Any) -> int | None:
    """Positions that the model has; some families (RoBERTa) leave the first ones, up to the padding's, unused."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return module.num_embeddings - module.padding_idx - 1
    return positions
