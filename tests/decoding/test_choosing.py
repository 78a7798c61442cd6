"""Sequences that choose their weights during their prefill, and prompts that share a beginning."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Trio
from trimix_cpp.fusion.choosers import PplChooser, PplOptChooser
from trimix_cpp.fusion.weights import Plausibility, Weights
from trimix_cpp.store.spec import TrioSpec

from ..conftest import QUICK, ROLES
from .test_decoder import (
    PROMPTS,
    TIBETAN,
    UYGHUR,
    complete,
    interrupted_at,
    prefix_logits,
    watch_feeds,
)

Rows = NDArray[np.float32]


class Recording:
    """An observer that keeps what it is shown from `start` on, and chooses `pair`."""

    def __init__(self, log: list, pair: Weights, start: int = 0, last_alone: bool = False) -> None:
        self.roles, self.pair, self.start, self.last_alone = ROLES, pair, start, last_alone
        self.log = log
        log.clear()

    def first(self, n_prompt: int) -> int:
        return n_prompt - 1 if self.last_alone else self.start

    def add(self, at: int, rows: Mapping[str, Rows], targets: NDArray[np.int32]) -> None:
        assert set(rows) == set(ROLES)
        assert all(r.shape[0] == len(targets) for r in rows.values())
        assert at == self.start + len(seen(self.log)[1] if self.log else [])
        self.log.append(({role: r.copy() for role, r in rows.items()}, targets.tolist()))

    def end(self, last: Mapping[str, Rows]) -> Weights:
        self.log.append(({role: r.copy()[None] for role, r in last.items()}, [None]))
        return self.pair


def seen(log: list) -> tuple[dict[str, Rows], list]:
    """Everything that was shown, joined: rows by role, and targets; the last target is None."""
    rows = {role: np.concatenate([part[role] for part, _ in log]) for role in ROLES}
    return rows, [target for _, targets in log for target in targets]


@pytest.mark.parametrize("n_outputs", [1, 7, 64])
@pytest.mark.parametrize("text", [PROMPTS[0], UYGHUR, TIBETAN])
def test_the_chooser_sees_every_position_of_every_role(
    demo_spec: TrioSpec, text: str, n_outputs: int
) -> None:
    options = dataclasses.replace(QUICK, n_outputs=n_outputs)
    log: list = []
    with Trio(demo_spec, ROLES, options) as trio:
        tokens = trio.tokenize(text)
        sequence = Text(
            tokens, Weights(1, 0), max_tokens=3, chooser=Recording(log, Weights(0.3, 0.9))
        )
        (done,) = Decoder(trio).run([sequence])
        plain = complete(trio, text, weights=Weights(0.3, 0.9), max_tokens=3)
    assert done.weights == Weights(0.3, 0.9)
    rows, targets = seen(log)
    assert targets == [*tokens[1:], None]
    for role in ROLES:
        # By hand, in batches of its own: they round differently; a neighbour is units away.
        expected = prefix_logits(demo_spec.roles[role].path, tokens)
        np.testing.assert_allclose(rows[role][-1], expected, atol=0.5)
        half = prefix_logits(demo_spec.roles[role].path, tokens[: len(tokens) // 2])
        np.testing.assert_allclose(rows[role][len(tokens) // 2 - 1], half, atol=0.5)
    assert done.tokens[: len(tokens) + 1] == plain.tokens[: len(tokens) + 1]


def test_a_chooser_of_the_last_position_sees_only_that(tiny_trio: Trio) -> None:
    log: list = []
    chooser = Recording(log, Weights(1, 0), last_alone=True)
    complete(tiny_trio, "salam dunya", weights=Weights(0, 1), chooser=chooser)
    assert seen(log)[1] == [None]


def test_one_token_tells_nothing(tiny_trio: Trio) -> None:
    for chooser in (PplChooser(), PplOptChooser()):
        done = complete(tiny_trio, "a", weights=Weights(0, 1), chooser=chooser)
        assert done.weights == Weights(0, 1)


def test_an_interrupted_choice_is_made_anew(
    tiny_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever Ctrl-C falls, the chooser that decides has seen the whole prompt, once."""
    tokens = list(range(30))
    with Trio(tiny_spec, ROLES, dataclasses.replace(QUICK, n_outputs=8)) as trio:
        for stop_at in range(1, 16):
            log: list = []
            decoder = Decoder(trio, keep=False)
            chooser = Recording(log, Weights(0.7, 0.5))
            text = Text(tokens, Weights(1, 0), chooser=chooser, max_tokens=2)
            with interrupted_at(stop_at, monkeypatch), pytest.raises(KeyboardInterrupt):
                list(decoder.stream(text))
            list(decoder.stream(text))
            assert seen(log)[1] == [*tokens[1:], None]
            assert text.weights == Weights(0.7, 0.5)


def test_a_new_turn_chooses_by_what_is_new(tiny_spec: TrioSpec) -> None:
    log: list = []
    with Trio(tiny_spec, ROLES, dataclasses.replace(QUICK, n_outputs=8)) as trio:
        decoder = Decoder(trio)
        chooser = Recording(log, Weights(0.1, 0.9))
        text = Text(list(range(20)), Weights(1, 0), chooser=chooser, max_tokens=3)
        list(decoder.stream(text))
        # base had no part in the reply; it draws level before anything is scored.
        assert text.roles == ("large", "cpt")
        longer = [*text.tokens, 60, 61, 62]
        chooser = Recording(log, Weights(0.1, 0.9), start=len(text.tokens) - 1)
        turn = Text(longer, Weights(1, 0), chooser=chooser, max_tokens=3)
        list(decoder.stream(turn))
        targets = seen(log)[1]
        assert targets == [60, 61, 62, None]
        assert (turn.n_prompt, turn.n_cached) == (len(longer), 20)


def test_a_shared_beginning_is_evaluated_once(
    demo_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = watch_feeds(monkeypatch)
    options = dataclasses.replace(QUICK, n_parallel=3, n_outputs=16)
    logs: list[list] = [[], []]
    with Trio(demo_spec, ROLES, options) as trio:
        prefix = trio.tokenize("\n\n".join(PROMPTS) + "\n\n")
        ends = [trio.tokenize(text) for text in (UYGHUR, TIBETAN)]
        decoder = Decoder(trio)
        held = decoder.pin(prefix[:-1], ROLES)
        shared = len(prefix) - 1
        assert sum(length for role, _, length in fed if role == "cpt") == shared
        fed.clear()
        sequences = [
            Text(
                prefix + end,
                Weights(1, 0),
                max_tokens=4,
                chooser=Recording(log, Weights(0.7, 0.5), start=shared),
            )
            for end, log in zip(ends, logs, strict=True)
        ]
        stranger = Text(trio.tokenize(UYGHUR), Weights(0.7, 0.5), max_tokens=4)
        done = list(decoder.run([*sequences, stranger]))
        assert len(done) == 3
        decoder.unpin(held)
        while trio.prefixes.evict():
            pass
        assert sorted(trio.take() for _ in range(3)) == [0, 1, 2]
        assert not [start for _, start, length in fed if 0 < start < shared and length > 1]
        for end, log in zip(ends, logs, strict=True):
            # The first token after the shared part is scored too.
            assert seen(log)[1] == [*end, None]
    alone: list = []
    with Trio(demo_spec, ROLES, dataclasses.replace(QUICK, n_outputs=16)) as trio:
        for end, log in zip(ends, logs, strict=True):
            chooser = Recording(alone, Weights(0.7, 0.5))
            sequence = Text(prefix + end, Weights(1, 0), max_tokens=1, chooser=chooser)
            list(Decoder(trio, keep=False).run([sequence]))
            rows, expected = seen(log)[0], seen(alone)[0]
            for role in ROLES:
                np.testing.assert_allclose(rows[role], expected[role][-len(end) - 1 :], atol=0.5)


def test_contrastive_decoding_keeps_to_what_is_plausible(
    demo_trio: Trio, demo_spec: TrioSpec
) -> None:
    """With threshold 1 only the judge's own best token is left, whatever is fused."""
    judge = Plausibility("cpt", 1.0)
    masked = complete(demo_trio, UYGHUR, weights=Weights(1, 0), plausibility=judge)
    cpt = complete(demo_trio, UYGHUR, weights=Weights(0, 1))
    assert masked.tokens == cpt.tokens
    free = complete(demo_trio, UYGHUR, weights=Weights(0, 1.5, 0))
    mild = complete(
        demo_trio, UYGHUR, weights=Weights(0, 1.5, 0), plausibility=Plausibility("cpt", 1e-30)
    )
    assert free.tokens == mild.tokens


def test_a_missing_judge_is_loaded(tiny_files: dict[str, Path], tiny_spec: TrioSpec) -> None:
    with Trio(tiny_spec, ("large",), QUICK) as trio:
        done = complete(trio, "salam", weights=Weights(1, 0), plausibility=Plausibility("base"))
        assert trio.roles == ("large", "base")
        assert done.stop is not None
