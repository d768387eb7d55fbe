"""The models' tokenizers: byte-level BPE, so that any text comes back unchanged; one token a digit, one a line break.

Line breaks stand alone so that a prompt's tokens are the first tokens of prompt + answer, wherever the prompt ends.
"""

from collections.abc import Iterable
from pathlib import Path

END, PAD = "<|end|>", "<|pad|>"


def train_tokenizer(texts: Iterable[str], size: int, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json of at most `size` tokens into `folder`; the end token is id 0."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex("\n"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False, model_max_length=512
    )
    fast.save_pretrained(str(folder))
