"""A pair of tiny random Llama models on disk, with a one-token-a-byte tokenizer: real models, in milliseconds."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def write_pair(folder: Path, context: int = 2048) -> Path:
    """Writes two model folders and pair.yaml; returns the latter."""
    vocabulary = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary["<end>"] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    for seed, (name, width) in enumerate({"small": 16, "large": 32}.items()):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(vocabulary), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=context, eos_token_id=256, bos_token_id=None, initializer_range=0.3,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(folder / name)
        fast.save_pretrained(folder / name)
    path = folder / "pair.yaml"
    path.write_text(
        f"name: tiny\nscenario: test\ndraft: {{model: {folder}/small, dtype: float32}}\n"
        f"assistants: [{{model: {folder}/large, dtype: float32}}]\n"
    )
    return path
