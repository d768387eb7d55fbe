"""Small random models of several architectures, and a tokenizer of 64 one-letter tokens, made in memory."""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789."
END = "\n"
VOCABULARY = len(LETTERS) + 1
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}


def tokenizer() -> PreTrainedTokenizerFast:
    ids = {letter: i for i, letter in enumerate(END + LETTERS)}
    inner = Tokenizer(models.WordLevel(ids, unk_token="."))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END, unk_token=".")


def _config(architecture: str) -> Any:
    match architecture:
        case "llama":
            return LlamaConfig(**SIZES)
        case "qwen2":
            return Qwen2Config(**SIZES)
        case "mistral":
            return MistralConfig(**SIZES, sliding_window=None)
        case "mistral-window":
            return MistralConfig(**SIZES, sliding_window=12)
        case "gemma3":
            return Gemma3TextConfig(
                **SIZES,
                head_dim=8,
                sliding_window=10,
                layer_types=["sliding_attention", "full_attention"],
                query_pre_attn_scalar=8,
            )
        case "gpt2":
            return GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.3)
    raise ValueError(architecture)


CLASSES: dict[str, Any] = {
    "llama": LlamaForCausalLM,
    "qwen2": Qwen2ForCausalLM,
    "mistral": MistralForCausalLM,
    "mistral-window": MistralForCausalLM,
    "gemma3": Gemma3ForCausalLM,
    "gpt2": GPT2LMHeadModel,
}
ARCHITECTURES = tuple(CLASSES)


def model(architecture: str = "llama", seed: int = 0, near: Any = None, noise: float = 0.25) -> Any:
    """A random model; `near` another one: its weights, disturbed, so that the two often agree and often do not."""
    torch.manual_seed(seed)
    config = _config(architecture)
    config.eos_token_id, config.bos_token_id, config.pad_token_id = 0, 0, 0
    made = CLASSES[architecture](config).eval()
    if near is not None:
        with torch.no_grad():
            for own, other in zip(made.parameters(), near.parameters(), strict=True):
                own.copy_(other + noise * other.std() * torch.randn_like(other) if other.numel() > 64 else other)
    made.generation_config.eos_token_id, made.generation_config.pad_token_id = 0, 0
    return made


def models_like(architecture: str, count: int, seed: int = 0) -> list[Any]:
    """A draft and count - 1 assistants near it."""
    first = model(architecture, seed)
    return [first, *(model(architecture, seed + i, near=first) for i in range(1, count))]


def prompts(count: int, seed: int = 0, shared: str = "") -> list[str]:
    """Random prompts of unequal length, all beginning with `shared`."""
    generator = torch.Generator().manual_seed(seed)

    def word(length: int) -> str:
        picks = torch.randint(0, len(LETTERS), (length,), generator=generator)
        return "".join(LETTERS[i] for i in picks.tolist())

    return [shared + word(3 + 7 * i % 19) for i in range(count)]


def encode(text: str) -> list[int]:
    return [(END + LETTERS).index(letter) for letter in text]


def decode(ids: Sequence[int]) -> str:
    return "".join((END + LETTERS)[i] for i in ids)
