"""A cpt with tokens of its own: its rows against all segmentations, and the loop."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.lanes import Lanes
from trimix_cpp.decoding.speculation import Speculator
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.errors import AlignmentError
from trimix_cpp.fusion import EntChooser, LogProbs, PplChooser, Sampler, Weights
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..support.enlarged import SAMPLES, write_enlarged_trio
from ..support.examples import examples

ROLES = ("large", "cpt", "base")
PROMPT = "<|im_start|>the ئۇيغۇر then"
HALVES = Weights(0.4, 0.5)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_enlarged_trio(tmp_path_factory.mktemp("enlarged"))


@pytest.fixture(scope="module")
def spec(files: dict[str, Path]) -> TrioSpec:
    return TrioSpec("enlarged", {role: RoleSpec(path) for role, path in files.items()})


@pytest.fixture(scope="module")
def exact(spec: TrioSpec) -> Iterator[Trio]:
    options = Options(n_ctx=128, n_threads=1, n_outputs=8, exact_vocabulary=True)
    with Trio(spec, ROLES, options) as trio:
        yield trio


class Oracle:
    """cpt by itself, and every way to say a text."""

    def __init__(self, path: Path, trio: Trio) -> None:
        self.model = Model(path)
        self.context = Context(self.model, n_ctx=128, n_threads=1)
        self.trio = trio
        own = {self.model.piece(t, special=True): t for t in range(self.model.n_vocab)}
        pieces = [trio._piece(v, special=True) for v in range(trio.n_tokens)]
        letters = {piece: v for v, piece in enumerate(pieces)}
        self.strings = [
            (letters[piece],) if piece in letters else
            tuple(trio.tokenize(piece.decode())) if valid(piece) else longest(piece, letters)
            for piece in sorted(own, key=lambda piece: own[piece])
        ]  # fmt: skip
        self.logits = lru_cache(maxsize=None)(self._logits)

    def _logits(self, own: tuple[int, ...]) -> np.ndarray:
        self.context.clear()
        n = len(own)
        last = np.arange(n) == n - 1
        zeros = np.zeros(n, np.int32)
        self.context.decode(np.array(own, np.int32), np.arange(n, dtype=np.int32), zeros, last)
        row = self.context.logits()[0].astype(np.float64)
        return np.exp(row - row.max()) / np.exp(row - row.max()).sum()

    def masses(self, own: tuple[int, ...], text: tuple[int, ...]) -> np.ndarray:
        """For each letter v the probability that what follows `own` begins with `text` and v."""
        p, total = self.logits(own), np.zeros(self.trio.n_tokens)
        for token, string in enumerate(self.strings):
            n = min(len(string), len(text))
            if string[:n] != text[:n]:
                continue
            if len(string) > n:
                total[string[n]] += p[token]
            else:
                total += p[token] * self.masses((*own, token), text[n:])
        return total

    def row(self, prompt: tuple[int, ...], text: tuple[int, ...]) -> np.ndarray:
        masses = self.masses(prompt, text)
        return masses / masses.sum()

    def close(self) -> None:
        self.context.close()
        self.model.close()


def valid(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def longest(piece: bytes, letters: dict[bytes, int]) -> tuple[int, ...]:
    out, at = [], 0
    while at < len(piece):
        end = next(e for e in range(len(piece), at, -1) if piece[at:e] in letters)
        out.append(letters[piece[at:end]])
        at = end
    return tuple(out)


@pytest.fixture(scope="module")
def oracle(files: dict[str, Path], exact: Trio) -> Iterator[Oracle]:
    found = Oracle(files["cpt"], exact)
    yield found
    found.close()


class Rows(LogProbs):
    """Keeps cpt's rows from a position on."""

    def __init__(self, start: int) -> None:
        super().__init__(HALVES, start)
        self.kept: list[np.ndarray] = []

    def add(self, at: int, rows: dict[str, np.ndarray], targets: np.ndarray) -> None:  # type: ignore[override]
        self.kept += list(rows["cpt"].copy())

    def end(self, last: dict[str, np.ndarray]) -> None:  # type: ignore[override]
        self.kept.append(last["cpt"].copy())


def rows_of(trio: Trio, tokens: list[int], start: int) -> list[np.ndarray]:
    """cpt's distribution after each token from `start` on, by the loop."""
    seen = Rows(start)
    for done in Decoder(trio, keep=False).run(
        [Text(tokens, HALVES, max_tokens=0, observers=(seen,))]
    ):
        done.raise_error()
    wide = [row.astype(np.float64) for row in seen.kept]
    return [np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in wide]


@settings(
    max_examples=examples(12), deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    prompt=st.sampled_from([*SAMPLES, PROMPT, "a", "<|im_end|>"]),
    text=st.text(st.sampled_from("".join(SAMPLES) + "x"), min_size=1, max_size=2),
)
def test_rows_are_those_of_all_segmentations(
    exact: Trio, oracle: Oracle, prompt: str, text: str
) -> None:
    before = exact.tokenize(prompt, parse_special=True)
    tokens = [*before, *exact.tokenize(text)[:4]]
    own = tuple(oracle.model.tokenize(prompt, parse_special=True))
    found = rows_of(exact, tokens, len(before) - 1)
    assert len(found) == len(tokens) - len(before) + 1
    for n, row in enumerate(found):
        expected = oracle.row(own, tuple(tokens[len(before) : len(before) + n]))
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_the_prompt_is_read_in_its_own_tokens(exact: Trio, files: dict[str, Path]) -> None:
    tokens = exact.tokenize(PROMPT, parse_special=True)
    with Model(files["cpt"]) as model:
        expected = model.tokenize(PROMPT, parse_special=True)
    own, needed = exact.alignment.enlarged["cpt"].read(tokens)
    assert own == expected
    assert len(own) < len(tokens)
    assert (needed[0], needed[-1], len(needed)) == (0, len(own), len(tokens) + 1)
    assert needed == sorted(needed)
    cut = exact.tokenize("ئۇيغۇر")[1:-1]  # in the middle of characters
    own, needed = exact.alignment.enlarged["cpt"].read(cut)
    with Model(files["cpt"], vocab_only=True) as model:
        assert b"".join(map(model.piece, own)) == b"".join(map(exact.piece, cut))


def answers(
    trio: Trio, texts: list[Text], speculator: Speculator | None = None, *, keep: bool
) -> list[list[int]]:
    """Each alone."""
    for text in texts:
        list(Decoder(trio, speculator, keep=keep).stream(text))
    return [text.tokens for text in texts]


@pytest.mark.parametrize("exact_vocabulary", [False, True])
def test_nothing_depends_on_what_else_there_is(spec: TrioSpec, exact_vocabulary: bool) -> None:
    """Batches, small batches, shared prefixes, roll-back, drafts."""
    options = Options(
        n_ctx=160, n_threads=1, n_parallel=3, n_outputs=8, n_batch=24,
        exact_vocabulary=exact_vocabulary,
    )  # fmt: skip
    with Trio(spec, ROLES, options) as trio:
        prompts = [
            trio.tokenize(p, parse_special=True) for p in (PROMPT, PROMPT + " th", "1234", "བོད")
        ]
        samplers = [Sampler(), Sampler(repeat_penalty=1.3), Sampler(temperature=0.9, seed=4)]

        def texts() -> list[Text]:
            return [
                Text(own, HALVES, samplers[i % 3], max_tokens=9, ignore_ends=True)
                for i, own in enumerate(prompts)
            ]

        alone = answers(trio, texts(), keep=False)
        together = texts()
        for done in Decoder(trio).run(together):
            done.raise_error()
        assert [text.tokens for text in together] == alone
        kept = texts()
        assert answers(trio, kept, keep=True) == alone
        assert kept[1].n_cached
        assert answers(trio, texts(), Speculator(3), keep=True) == alone
        # A text that goes on from another: as if it stood alone.
        longer = [*alone[0], *trio.tokenize(" then")]
        on = answers(trio, [Text(longer, HALVES, max_tokens=6)], keep=True)
        assert on == answers(trio, [Text(longer, HALVES, max_tokens=6)], keep=False)


@pytest.mark.parametrize("n_branches", [0, 1])
def test_fewer_sequences_only_take_longer(
    spec: TrioSpec, n_branches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a sequence has no more is fed again; more hypotheses than sequences go one by one."""
    options = Options(n_ctx=128, n_threads=1, n_outputs=4, exact_vocabulary=True)
    found = []
    for n in (4, n_branches):
        monkeypatch.setattr("trimix_cpp.decoding.trio._BRANCHES", n)
        with Trio(spec, ROLES, options) as trio:
            assert len(trio.slots("cpt", 0)) == 1 + n
            tokens = trio.tokenize(PROMPT, parse_special=True)
            row_sets = rows_of(trio, tokens, len(tokens) - 6)
            found.append(row_sets)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_an_interrupted_step_is_mended(spec: TrioSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(n_ctx=128, n_threads=1, n_outputs=4, exact_vocabulary=True)
    with Trio(spec, ROLES, options) as trio:
        tokens = trio.tokenize(PROMPT, parse_special=True)
        (expected,) = answers(trio, [Text(tokens, HALVES, max_tokens=6)], keep=False)
        decode, calls = trio.decode, 0

        def interrupted(feeds: object) -> object:
            nonlocal calls
            calls += 1
            if calls % 3 == 2:
                raise KeyboardInterrupt
            found = decode(feeds)  # type: ignore[arg-type]
            if calls % 3 == 0:
                raise KeyboardInterrupt
            return found

        monkeypatch.setattr(trio, "decode", interrupted)
        text, decoder = Text(tokens, HALVES, max_tokens=6), Decoder(trio)
        decoder.submit(text)
        for _ in range(200):
            try:
                decoder.step()
            except KeyboardInterrupt:
                continue
            if text.stop:
                break
        assert text.tokens == expected


def test_choosers_and_context(spec: TrioSpec) -> None:
    with Trio(spec, ROLES, Options(n_ctx=48, n_threads=1, n_outputs=8)) as trio:
        tokens = trio.tokenize(PROMPT, parse_special=True)
        for chooser in (PplChooser(), EntChooser()):
            text = Text(tokens, HALVES, chooser=chooser, max_tokens=3)
            list(Decoder(trio).stream(text))
            assert len(text.generated) == 3
        full = Text(tokens, HALVES, ignore_ends=True)
        list(Decoder(trio).stream(full))
        assert (full.stop, len(full.tokens)) == ("context", 48)


def test_base_may_be_the_reference_but_not_lack_text(files: dict[str, Path]) -> None:
    """Without large the smaller vocabulary is the alphabet; an enlarged large is refused."""
    roles = {role: RoleSpec(files[role]) for role in ("cpt", "base")}
    with Trio(TrioSpec("two", roles), ("cpt", "base"), Options(n_ctx=64, n_threads=1)) as trio:
        assert trio.alignment.reference == "base"
        text = Text(trio.tokenize("the"), Weights(0, 1.5), max_tokens=3)
        list(Decoder(trio).stream(text))
        assert len(text.generated) == 3
    spec = TrioSpec("all", {role: RoleSpec(path) for role, path in files.items()})
    with Trio(spec, ("cpt",), Options(n_ctx=64, n_threads=1)) as trio:
        assert not trio.alignment.enlarged
        with pytest.raises(AlignmentError, match="begin with weights that use large"):
            trio.require(("large",))
        assert trio.roles == ("cpt",)
    swapped = {"large": RoleSpec(files["cpt"]), "cpt": RoleSpec(files["large"])}
    with pytest.raises(AlignmentError, match="cpt and base may have more tokens"):
        Trio(TrioSpec("three", swapped), ("large", "cpt"), Options(n_ctx=64))


@pytest.mark.parametrize("more", ["never", "oracle", pytest.param("none", marks=pytest.mark.slow)])
def test_the_demo_with_more_tokens(more: str) -> None:
    """In exact mode the rows of every position are those of the trio with equal vocabularies.

    `oracle`: those of all segmentations, where the demo's cpt has more tokens that it does use.
    """
    script = Path(__file__).with_name("enlarged_runs.py")
    done = subprocess.run(
        [sys.executable, str(script), more], capture_output=True, text=True, check=False
    )
    assert done.stdout == "equal\n", done.stderr


def test_lanes_are_of_the_kind_that_a_role_needs(exact: Trio) -> None:
    lanes = Lanes(exact)
    names = {role: type(lanes[role]).__name__ for role in ROLES}
    assert names == {"large": "AlignedLane", "cpt": "EnlargedLane", "base": "AlignedLane"}
    lanes.close()
