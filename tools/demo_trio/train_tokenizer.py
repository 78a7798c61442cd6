"""Train the trio's one tokenizer: a byte-level BPE with Qwen2's pre-tokenizer.

    python tools/demo_trio/train_tokenizer.py DATA OUT

Writes tokenizer.json, vocab.json, merges.txt and tokenizer_config.json into OUT. The training
lines hold no line breaks, so that a line break is always a token of its own.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from data import END_OF_TEXT, PROMPT, TURN_END, TURN_START, dev_pairs, read_lines
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from trimix_cpp.convert.pretokenizer import QWEN2_REGEX

PROMPT_COPIES = 500
SPECIALS = [END_OF_TEXT, TURN_START, TURN_END]


def sample(data: Path, seed: int) -> list[str]:
    """Training lines: all Uyghur, English, and the prompt, so that its words are tokens.

    There is 1.5 times as much English as Uyghur in bytes; a Uyghur letter has two.
    """
    uyghur = read_lines(data / "mono" / "ug.txt.gz")
    budget = 1.5 * sum(len(line.encode()) for line in uyghur)
    strings = read_lines(data / "english" / "ui-strings.txt.gz")
    prose = read_lines(data / "english" / "desktop-help.txt.gz")
    prose += read_lines(data / "english" / "software-manuals.txt.gz")
    dice = random.Random(seed)
    dice.shuffle(strings)
    dice.shuffle(prose)
    english: list[str] = []
    for lines, share in ((strings, 0.6), (prose, 0.4)):
        left = share * budget
        for line in lines:
            if left <= 0:
                break
            english.append(line)
            left -= len(line.encode())
    return uyghur + english + PROMPT.format("Uyghur", "{}", "Uyghur").splitlines() * PROMPT_COPIES


def train(lines: list[str], size: int) -> Tokenizer:
    """A tokenizer with `size` entries, the special tokens among them."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(QWEN2_REGEX), behavior="isolated", invert=False)
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, by_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.ByteLevel(
        add_prefix_space=False, trim_offsets=False, use_regex=False
    )
    tokenizer.add_special_tokens(SPECIALS)
    return tokenizer


def save(tokenizer: Tokenizer, out: Path) -> None:
    """The files of a Qwen2 tokenizer, as Hugging Face saves them."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    tokenizer.model.save(str(out))
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(token)): {
                "content": token,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": True,
            }
            for token in SPECIALS
        },
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_TEXT,
        "errors": "replace",
        "model_max_length": 512,
        "pad_token": END_OF_TEXT,
        "split_special_tokens": False,
        "unk_token": None,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (out / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Train, save, and print how many bytes a token holds in each language."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with en-ug/, mono/ and english/")
    parser.add_argument("out", type=Path, help="folder for the tokenizer's files")
    parser.add_argument("--size", type=int, default=8192, help="entries (default: 8192)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    tokenizer = train(sample(args.data, args.seed), args.size)
    save(tokenizer, args.out)
    print(f"{tokenizer.get_vocab_size()} entries")
    dev = dev_pairs(args.data)
    for name, lines in (
        ("English", [pair.english for pair in dev]),
        ("Uyghur", [pair.answer for pair in dev]),
    ):
        tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(lines))
        size = sum(len(line.encode()) for line in lines)
        print(f"{name}: {size / tokens:.2f} bytes a token on the development split")


if __name__ == "__main__":
    main()
