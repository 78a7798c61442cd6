"""Fusion over bytes, of real models whose tokenizers differ, against every tokenization."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimix_cpp.bytewise import END, Pruning, Spelling, allowed, unfinished
from trimix_cpp.decoding import Decoder, Text, open_trio
from trimix_cpp.decoding.byte_trio import ByteTrio
from trimix_cpp.errors import AlignmentError, TrimixError
from trimix_cpp.fusion import (
    ALL_ROLES,
    EntChooser,
    Ids,
    PplChooser,
    Row,
    Rows,
    Sampler,
    Weights,
    fuse,
    log_softmax,
)
from trimix_cpp.llama import Context, Model
from trimix_cpp.quant import Options

from ..bytewise.toys import EXACT, oracle, worst
from ..support.different import spec_of, write_different
from ..support.dressed import dress
from ..support.vocab_files import bpe

ALL = Weights(0.3, 0.9)
PROMPT = "the thing:"
TEXTS = ["the th", "ئۇي", "བོད", "12  3", "😀\n"]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_different(tmp_path_factory.mktemp("different"))


def options(pruning: Pruning = EXACT, **changes: int) -> Options:
    full = dict.fromkeys(ALL_ROLES, "f32")  # so that batches of other sizes round alike
    sizes = {"n_ctx": 256, "n_threads": 1, **changes}
    return Options(**sizes, flash_attn=False, type_k=full, type_v=full, bytes=pruning)


@pytest.fixture(scope="session")
def trio(files: dict[str, Path]) -> Iterator[ByteTrio]:
    with open_trio(spec_of(files), ("large", "cpt", "base"), options()) as trio:
        assert isinstance(trio, ByteTrio)
        yield trio


class Rows257:
    """Keeps all rows that it is shown."""

    def __init__(self, roles: tuple[str, ...], start: int) -> None:
        self.roles, self.start = roles, start
        self.seen: dict[str, list[Row]] = {role: [] for role in roles}

    def first(self, n_prompt: int) -> int:
        return self.start

    def add(self, at: int, rows: Mapping[str, Rows], targets: Ids) -> None:
        for role in self.roles:
            self.seen[role] += [row.copy() for row in rows[role]]

    def end(self, last: Mapping[str, Row]) -> None:
        for role in self.roles:
            self.seen[role].append(last[role].copy())


class Alone:
    """A model by itself: logits after some of its own tokens, one sequence at a time."""

    def __init__(self, path: Path, prompt: tuple[int, ...]) -> None:
        self.model = Model(path)
        self.context = Context(
            self.model, n_ctx=256, n_threads=1, flash_attn=False, type_k="f32", type_v="f32"
        )
        self.prompt = prompt
        self.logits = cache(self._logits)

    def _logits(self, path: tuple[int, ...]) -> np.ndarray:
        tokens = np.array((*self.prompt, *path), np.int32)
        self.context.clear()
        n = len(tokens)
        self.context.decode(tokens, np.arange(n, dtype=np.int32), np.zeros(n, np.int32), last(n))
        return self.context.logits()[0].copy()

    def close(self) -> None:
        self.context.close()
        self.model.close()


def last(n: int) -> np.ndarray:
    return np.arange(n) == n - 1


def look(
    trio: ByteTrio, head: str, tail: str, roles: tuple[str, ...], weights: Weights = ALL
) -> dict[str, list[Row]]:
    """The rows of every byte after `head`, which is read as a prompt."""
    tokens = tokens_of(trio, head + tail)
    seen = Rows257(roles, len(tokens) - len(tail.encode()) - 1)
    with Decoder(trio, keep=False) as decoder:
        for text in decoder.run([Text(tokens, weights, max_tokens=0, observers=(seen,))]):
            text.raise_error()
    return seen.seen


def test_every_row_is_the_sum_over_all_tokenizations(
    trio: ByteTrio, files: dict[str, Path]
) -> None:
    head = tokens_of(trio, PROMPT)
    for role in trio.roles:
        alone = Alone(files[role], tuple(trio.prompt(role, head)))
        spelling: Spelling = trio.spelling(role)
        for text in TEXTS:
            rows = look(trio, PROMPT, text, (role,))[role]
            data = text.encode()
            assert len(rows) == len(data) + 1
            for at, row in enumerate(rows):
                assert worst(row, oracle(spelling, alone.logits, data[:at])) < 1e-6
        alone.close()


def reference(
    trio: ByteTrio, files: Mapping[str, Path], prompt: str, n: int, weights: Weights = ALL
) -> bytes:
    """Greedy text by every role's sums over tokenizations, fused and masked."""
    head = tokens_of(trio, prompt)
    alone = {role: Alone(files[role], tuple(trio.prompt(role, head))) for role in trio.roles}
    text = b""
    for _ in range(n):
        rows = {}
        for role, model in alone.items():
            p = oracle(trio.spelling(role), model.logits, text)
            rows[role] = np.log(np.maximum(p, 1e-8)).astype(np.float32)
        row = fuse(rows, weights.coefficients)
        row[~allowed(unfinished(text))] = -np.inf
        if (byte := int(np.argmax(row))) == END:
            break
        text += bytes((byte,))
    for model in alone.values():
        model.close()
    return text


def tokens_of(trio: ByteTrio, prompt: str) -> list[int]:
    return trio.tokenize(prompt, add_special=True, parse_special=True)


def run(trio: ByteTrio, *prompts: str, n: int | None = 6, **changes: Any) -> list[Text]:
    """Texts that are decoded at once, in the order of their prompts."""
    changes.setdefault("weights", ALL)
    texts = [Text(tokens_of(trio, each), max_tokens=n, **changes) for each in prompts]
    with Decoder(trio, keep=False) as decoder:
        for text in decoder.run(texts):
            text.raise_error()
    return texts


def data(text: Text) -> bytes:
    return bytes(token for token in text.generated if token != END)


@pytest.mark.parametrize("prompt", [PROMPT, "ئۇيغۇر", "བོད ", "12 ", " "])
def test_fused_text_is_the_one_of_the_sums(
    trio: ByteTrio, files: dict[str, Path], prompt: str
) -> None:
    assert data(run(trio, prompt, n=4)[0]) == reference(trio, files, prompt, 4)


@pytest.mark.parametrize("pruning", [Pruning(4, 1e-3), Pruning(1, 0.5)])
def test_texts_decoded_together_are_those_decoded_alone(
    files: dict[str, Path], pruning: Pruning
) -> None:
    prompts = ["the ", "ئۇيغۇر", "བོད་", "😀", "12"]
    settings = options(pruning, n_parallel=3)
    with open_trio(spec_of(files), ("large", "cpt", "base"), settings) as trio:
        assert isinstance(trio, ByteTrio)
        together = run(trio, *prompts, n=40)
        for prompt, text in zip(prompts, together, strict=True):
            alone = run(trio, prompt, n=40)[0]
            assert alone.tokens == text.tokens
            alone.text.encode()
            assert text.text in data(text).decode("utf-8", "ignore")


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_what_comes_is_utf8(files: dict[str, Path], temperature: float) -> None:
    sampler = Sampler(temperature, top_k=0, top_p=1, min_p=0, seed=3)
    with open_trio(spec_of(files), ("large", "cpt", "base"), options(Pruning(2))) as trio:
        assert isinstance(trio, ByteTrio)
        for text in run(trio, "the ", "བོད", n=60, sampler=sampler, ignore_ends=True):
            whole = data(text)
            whole[: len(whole) - len(unfinished(whole))].decode("utf-8")


def test_an_interrupted_step_is_mended(files: dict[str, Path]) -> None:
    """Wherever Ctrl-C comes among the batches of a step, the text is the same."""
    pruning = Pruning(4, 1e-3)
    with open_trio(spec_of(files), ("large", "cpt", "base"), options(pruning)) as trio:
        assert isinstance(trio, ByteTrio)
        whole = run(trio, PROMPT, n=12)[0].tokens
        original = trio._feed
        for at in range(0, 30, 3):
            calls = iter(range(1000))

            def feed(role: str, feeds: list, at: int = at, calls: Iterator[int] = calls) -> Rows:
                found = original(role, feeds)
                if next(calls) == at:
                    raise KeyboardInterrupt
                return found

            trio._feed = feed  # type: ignore[method-assign]
            text = Text(tokens_of(trio, PROMPT), ALL, max_tokens=12)
            with Decoder(trio, keep=False) as decoder:
                decoder.submit(text)
                interrupted = 0
                while not text.stop:
                    try:
                        decoder.step()
                    except KeyboardInterrupt:
                        interrupted += 1
                assert interrupted == 1
            trio._feed = original  # type: ignore[method-assign]
            assert text.tokens == whole


def test_a_text_goes_on_from_what_another_left(files: dict[str, Path]) -> None:
    with open_trio(spec_of(files), ("large", "cpt", "base"), options(Pruning(4))) as trio:
        assert isinstance(trio, ByteTrio)
        fresh = [run(trio, each, n=8)[0] for each in ("the thing is", "the thing was ئۇ")]
        with Decoder(trio) as decoder:
            for text in fresh:
                again = Text(text.tokens[: text.n_prompt], ALL, max_tokens=8)
                assert [done.tokens for done in decoder.run([again])] == [text.tokens]
            # The whole of the last text, its answer too, is the beginning of this one.
            more = Text([*again.tokens, *b" and"], ALL, max_tokens=4)
            for done in decoder.run([more]):
                assert done.n_cached > again.n_prompt // 2
        after = bytes(token for token in more.tokens[: more.n_prompt] if token != END)
        assert run(trio, after.decode("utf-8", "ignore"), n=4)[0].stop in ("length", "end")


def test_pinned_beginnings_change_nothing(files: dict[str, Path]) -> None:
    settings = options(Pruning(4), n_parallel=3)
    with open_trio(spec_of(files), ("large", "cpt", "base"), settings) as trio:
        assert isinstance(trio, ByteTrio)
        prompts = ["the thing ئۇيغۇر", "the thing བོད"]
        plain = [text.tokens for text in run(trio, *prompts, n=8)]
        with Decoder(trio) as decoder:
            held = decoder.pin(list("the thing ئ".encode()[:-1]), trio.roles)
            texts = [Text(tokens_of(trio, each), ALL, max_tokens=8) for each in prompts]
            assert sorted(done.tokens for done in decoder.run(texts)) == sorted(plain)
            decoder.unpin(held)


def test_a_full_context_ends_the_text(files: dict[str, Path]) -> None:
    with open_trio(spec_of(files), ("large", "cpt", "base"), options(Pruning(2), n_ctx=48)) as trio:
        assert isinstance(trio, ByteTrio)
        text = run(trio, "the thing", n=None, ignore_ends=True)[0]
        assert text.stop == "context"
        with pytest.raises(TrimixError, match="context holds 48"):
            run(trio, "q" * 60)
        with pytest.raises(TrimixError, match="prompt is empty"):
            run(trio, "")


def test_choosers_look_at_bytes(trio: ByteTrio) -> None:
    """By perplexity, the prompt is read byte by byte; by entropy, only what comes first."""
    ppl = PplChooser()
    chosen = run(trio, "the thing", n=2, chooser=ppl)[0]
    assert ppl.score.n_tokens > 5
    rows = look(trio, "t", "he thing", ("large", "cpt", "base"))
    values = {}
    for weights in (chosen.weights, Weights(0, 0), Weights(1, 0), Weights(0, 1)):
        values[weights] = 0.0
        for i, byte in enumerate(b"he thing"):
            own = {role: rows[role][i] for role in weights.roles}
            values[weights] += log_softmax(fuse(own, weights.coefficients))[byte]
    assert values[chosen.weights] == max(values.values())
    assert run(trio, "the thing", n=2, chooser=EntChooser())[0].stop


def test_what_does_not_go_with_bytes_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(TrimixError, match="--exact"):
        open_trio(spec_of(files), ("large",), Options(exact=True, bytes=Pruning()))
    with pytest.raises(TrimixError, match="at most 18 texts"):
        open_trio(spec_of(files), ("large",), Options(n_parallel=19, bytes=Pruning(4)))


def test_vocabularies_that_cannot_be_bytes_are_refused(tmp_path: Path) -> None:
    lacking = bpe()
    tokens = tuple((f"x{text}" if text == "A" else text, kind) for text, kind in lacking.tokens)
    file = dress(replace(lacking, tokens=tokens).write(tmp_path / "a.gguf"), tmp_path / "b.gguf")
    with pytest.raises(AlignmentError, match=r"b\.gguf: cannot be fused over bytes: .*0x41"):
        open_trio(spec_of({"large": file}), ("large",), options())


def test_tokens_without_known_bytes_never_come(tmp_path: Path) -> None:
    """Control tokens, padding, and pieces outside the alphabet of byte-level BPE."""
    odd = bpe().with_tokens(("日本", 1), ("the thing", 1)).padded(2)
    file = dress(odd.write(tmp_path / "a.gguf"), tmp_path / "b.gguf")
    with open_trio(spec_of({"large": file}), ("large",), options()) as trio:
        assert isinstance(trio, ByteTrio)
        spelling, model = trio.spelling("large"), trio._by_role["large"]
        lacking = {odd.id(text) for text in ("日本", "the thing", "<|im_start|>")}
        lacking |= {len(odd.tokens) - 1, len(odd.tokens) - 2}
        known = set(spelling.ids.tolist())
        assert known.isdisjoint(lacking)
        assert odd.id("<tool_call>") in known
        assert all(model.piece(token) == spelling.pieces[token] for token in known)
