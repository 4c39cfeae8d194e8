"""Tiny pretrained models with random weights, made by ``transformers`` as a user's would be: one of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

ENGLISH = [
    f"{subject} {verb} {where}"
    for subject in ("the old cat", "A dog", "my sister", "nobody")
    for verb in ("sleeps", "is reading unbelievable stories", "can't see the moon")
    for where in ("near the house.", "today", "in 1984?")
]
CHINESE = ["老猫在门口睡觉。", "我姐姐正在读一本书", "那只狗看不见月亮", "今天没有人在花园里。"]
TEXT = [*ENGLISH, *CHINESE]
END = "<|endoftext|>"


def byte_level(size: int = 400, special: tuple[str, ...] = (END,)) -> Tokenizer:
    """GPT-2's kind: byte-level pairs, nothing is unknown. Its special types come first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=size, initial_alphabet=alphabet, special_tokens=list(special), show_progress=False
        ),
    )
    return tokenizer


def word_pieces(size: int = 120) -> Tokenizer:
    """BERT's kind: lower case, pieces of words, ``[UNK]``."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        TEXT, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    )
    return tokenizer


def save(folder: Path, model: Any, tokenizer: Tokenizer, **special: str) -> Path:
    """Write both as ``save_pretrained`` does."""
    from transformers import PreTrainedTokenizerFast

    model.eval().save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder


def gpt2(folder: Path, positions: int = 64, **settings: Any) -> Path:
    """GPT-2, 2 layers of 32; its output layer has three rows that the tokenizer never uses."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = byte_level()
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size() + 3, n_embd=32, n_layer=2, n_head=4, n_positions=positions,
        initializer_range=0.3, **settings,
    )  # fmt: skip
    return save(folder, GPT2LMHeadModel(config), tokenizer, bos_token=END, eos_token=END)


def llama(folder: Path) -> Path:
    """Llama, with types of their own for the beginning and the end of a text, which are not the first ones."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_level(special=("<pad>", "<s>", "<end>"))
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    return save(folder, LlamaForCausalLM(config), tokenizer, bos_token="<s>", eos_token="<end>")


def bert(folder: Path, **settings: Any) -> Path:
    """BERT, 2 layers of 32."""
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = word_pieces()
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=48, initializer_range=0.3, **settings,
    )  # fmt: skip
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return save(folder, BertForMaskedLM(config), tokenizer, pad_token="[PAD]", **names)
