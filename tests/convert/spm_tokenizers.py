"""Tiny SentencePiece-like tokenizers: as tokenizer.model and as tokenizer.json.

The pieces are trained with `tokenizers`; the merges are then listed as transformers does when it
converts a SentencePiece model: every pair whose union is a piece, in the order of the scores.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from .languages import TEXTS

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
Piece = tuple[str, float, int]

HEADS: dict[str, list[Piece]] = {
    "llama2": [("<unk>", 0, UNKNOWN), ("<s>", 0, CONTROL), ("</s>", 0, CONTROL)],
    "gemma3": [
        ("<pad>", 0, CONTROL), ("<eos>", 0, CONTROL), ("<bos>", 0, CONTROL), ("<unk>", 0, UNKNOWN),
        *[(text, 0, USER_DEFINED) for text in (
            "<mask>", "<unused0>", "<start_of_turn>", "<end_of_turn>", "\n", "\n\n", "\n\n\n",
            "\u2581\u2581", "\u2581\u2581\u2581", "<table>",
        )],
    ],
}  # fmt: skip


def kind(family: str) -> str:
    """Which of these tokenizers a family has: Gemma 2's is built as Gemma 3's."""
    return "gemma3" if family.startswith("gemma") else family


@cache
def pieces(kind: str) -> tuple[Piece, ...]:
    """Special ones, bytes, then merges and characters, as SentencePiece orders and scores them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    trainer = trainers.BpeTrainer(vocab_size=500, limit_alphabet=180, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    trained = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    special = [text for text, _, _ in HEADS[kind]]
    found = [text for text, _ in trained if text not in special]
    ordered = [t for t in found if len(t) > 1] + [t for t in found if len(t) == 1]
    return (
        *HEADS[kind],
        *((f"<0x{byte:02X}>", 0, BYTE) for byte in range(256)),
        *((text, -float(i), NORMAL) for i, text in enumerate(ordered)),
    )


def merges(kind: str) -> list[list[str]]:
    """All pairs of pieces whose union is a piece: best score first, then the longer parts."""
    vocab = {text: score for text, score, _ in pieces(kind)}
    pairs = [
        [text[:end], text[end:]]
        for text in vocab
        for end in range(1, len(text))
        if text[:end] in vocab and text[end:] in vocab
    ]
    return sorted(pairs, key=lambda p: (-vocab[p[0] + p[1]], -len(p[0]), -len(p[1])))


def model_file(kind: str, *, model_type: int = 2, charsmap: bytes = b"") -> bytes:
    """The contents of tokenizer.model (`sentencepiece_model.proto`)."""
    body = b"".join(
        _bytes(1, _bytes(1, t.encode()) + b"\x15" + struct.pack("<f", score) + _number(3, type_))
        for t, score, type_ in pieces(kind)
    )
    ids = {"llama2": (0, 1, 2, -1), "gemma3": (3, 2, 1, 0)}[kind]
    trainer = _number(3, model_type) + _number(35, 1)
    trainer += b"".join(_number(40 + i, token_id) for i, token_id in enumerate(ids))
    normalizer = _bytes(1, b"identity") + _bytes(2, charsmap)
    normalizer += _number(3, int(kind == "llama2")) + _number(4, 0) + _number(5, 1)
    return body + _bytes(2, trainer) + _bytes(3, normalizer)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers take ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def json_file(kind: str) -> dict[str, Any]:
    """The contents of tokenizer.json, as transformers 4 writes it for the family."""
    special = {UNKNOWN: True, CONTROL: True, USER_DEFINED: False}
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    llama = kind == "llama2"
    bos = "<s>" if llama else "<bos>"
    bos_id = [text for text, _, _ in pieces(kind)].index(bos)
    start = {"SpecialToken": {"id": bos, "type_id": 0}}
    a, b = ({"Sequence": {"id": name, "type_id": i}} for i, name in enumerate("AB"))
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {
                "id": i, "content": text, "special": special[kind_], "normalized": False,
                "single_word": False, "lstrip": False, "rstrip": False,
            }
            for i, (text, _, kind_) in enumerate(pieces(kind)) if kind_ in special
        ],
        "normalizer":
            {"type": "Sequence", "normalizers": [prepend, spaces]} if llama else spaces,
        "pre_tokenizer": None if llama else {
            "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing", "single": [start, a], "pair": [start, a, start, b],
            "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}},
        },
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if llama else []),
        ]},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True,
            "continuing_subword_prefix": None, "end_of_word_suffix": None, "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {text: i for i, (text, _, _) in enumerate(pieces(kind))},
            "merges": merges(kind),
        },
    }  # fmt: skip


def settings(kind: str) -> dict[str, Any]:
    """The contents of tokenizer_config.json."""
    if kind == "llama2":
        names = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": None}
        more: dict[str, Any] = {"tokenizer_class": "LlamaTokenizer", "legacy": True}
    else:
        names = {"bos": "<bos>", "eos": "<end_of_turn>", "unk": "<unk>", "pad": "<pad>"}
        more = {"tokenizer_class": "GemmaTokenizer", "chat_template": "{{ messages[0].content }}"}
    decoder = {str(token.pop("id")): token for token in json_file(kind)["added_tokens"]}
    tokens = {f"{name}_token": text for name, text in names.items()}
    adding = {"add_bos_token": True, "add_eos_token": False}
    return {**adding, "added_tokens_decoder": decoder, **tokens, **more}
