"""Texts side by side: each has its own fate, its own place, and what it began with once."""

from __future__ import annotations

import dataclasses
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.decoding.answers import generate
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.prefixes import common_length
from trimix_cpp.decoding.text import Event, Text
from trimix_cpp.decoding.trio import Trio
from trimix_cpp.errors import ContextFullError, FullError, TrimixError
from trimix_cpp.fusion.observers import LogProbs
from trimix_cpp.fusion.rows import log_softmax
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..conftest import QUICK, ROLES
from ..llama.test_context import Freed
from ..support.tiny import write_tiny_model
from .test_decoder import complete, prefix_logits, watch_feeds

WEIGHTS = Weights(0.7, 0.5)
THREE = dataclasses.replace(QUICK, n_parallel=3)


@pytest.fixture
def three(tiny_spec: TrioSpec) -> Iterator[Trio]:
    """A trio with three places."""
    with Trio(tiny_spec, ROLES, THREE) as trio:
        yield trio


def text_of(tokens: list[int], **options: object) -> Text:
    defaults: dict[str, object] = {"max_tokens": 5, "ignore_ends": True}
    return Text(tokens, WEIGHTS, **{**defaults, **options})  # type: ignore[arg-type]


class Failing:
    """An observer that fails at the end of the prompt."""

    roles = ("large",)

    def first(self, n_prompt: int) -> int:
        return n_prompt - 1

    def add(self, at: int, rows: object, targets: object) -> None:
        raise AssertionError("it wanted the last row alone")

    def end(self, last: object) -> None:
        raise TrimixError("this text's own fault")


def test_a_texts_own_fault_ends_that_text_and_nothing_else(three: Trio) -> None:
    """It killed the step: tokens of the others were taken, and nobody was told."""
    good = [text_of(list(range(10 * i, 10 * i + 8))) for i in range(1, 6)]
    bad = [
        text_of([1] * 512),  # does not fit
        text_of([2, 3], observers=(Failing(),)),
        text_of([3, 4], chooser=Failing()),
        Text([4], Weights(0.5, 0.5, 0.0)),  # needs large_base, which has no file
    ]
    mixed = [bad[0], good[0], bad[1], good[1], good[2], bad[2], good[3], bad[3], good[4]]
    decoder = Decoder(three)
    for text in mixed:
        decoder.submit(text)
    events = []
    while any(text.stop is None for text in mixed):
        events += decoder.step()
    for text in good:
        own = [event for event in events if event.text is text]
        assert (text.stop, text.error) == ("length", None)
        assert [token for event in own for token in event.tokens] == text.generated
        assert "".join(event.piece for event in own) == text.text
    assert [type(text.error) for text in bad] == [ContextFullError, *[TrimixError] * 3]
    for text in bad:
        assert text.stop == "error"
        assert [event.tokens for event in events if event.text is text] == [()]
        with pytest.raises(TrimixError):
            text.raise_error()
    with pytest.raises(TrimixError, match="own fault"):
        list(generate(decoder, [text_of([5, 6]), text_of([2, 3], observers=(Failing(),))]))
    assert not decoder.running


def test_a_broken_model_ends_each_of_its_texts(tmp_path: Path, tiny_files: dict) -> None:
    broken = write_tiny_model(tmp_path / "broken.gguf", seed=1, scale=1e20)
    spec = TrioSpec("broken", {"large": RoleSpec(tiny_files["large"]), "cpt": RoleSpec(broken)})
    with Trio(spec, ("large", "cpt"), THREE) as trio:
        fused, alone = Text([1, 2], Weights(0.5, 0.5)), Text([1, 2], Weights(1, 0), max_tokens=3)
        assert len(list(Decoder(trio).run([fused, alone]))) == 2
        assert "logits of cpt are not finite" in str(fused.error)
        assert (alone.error, len(alone.generated)) == (None, 3)


def test_no_stream_takes_what_is_anothers(three: Trio) -> None:
    decoder = Decoder(three)
    first, second = text_of([1, 2, 3]), text_of([7, 8, 9], max_tokens=3)
    decoder.submit(second)
    assert "".join(decoder.stream(first)) == first.text
    assert second.stop == "length"
    assert "".join(decoder.stream(second)) == second.text != ""
    assert list(decoder.stream(second)) == []  # each piece once


def test_several_decoders_share_a_trio(three: Trio) -> None:
    """Both handed out slot 0, and the second batch was refused."""
    alone = [complete(three, text, weights=WEIGHTS, max_tokens=6) for text in ("salam", "dunya")]
    decoders = Decoder(three, keep=False), Decoder(three, keep=False)
    texts = [Text(three.tokenize(name), WEIGHTS, max_tokens=6) for name in ("salam", "dunya")]
    for decoder, text in zip(decoders, texts, strict=True):
        decoder.submit(text)
    while any(text.stop is None for text in texts):
        for decoder in decoders:
            decoder.step()
    assert [text.tokens for text in texts] == [text.tokens for text in alone]


def test_texts_come_and_go_in_threads(three: Trio) -> None:
    """Submitted and cancelled by some, stepped by another; every event belongs to its text."""
    decoder, texts, events, errors = Decoder(three), list[Text](), list[Event](), list[Exception]()

    def client(seed: int) -> None:
        chance = np.random.default_rng(seed)
        try:
            for _ in range(8):
                text = text_of(chance.integers(0, 200, chance.integers(1, 40)).tolist())
                texts.append(text)
                decoder.submit(text)
                if chance.random() < 0.3:
                    time.sleep(chance.random() / 100)
                    decoder.cancel(text)
                    decoder.cancel(text)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or any(t.stop is None for t in texts):
        events += decoder.step()
    assert not errors
    assert len(texts) == 32
    for text in texts:
        own = [event for event in events if event.text is text]
        assert [token for event in own for token in event.tokens] == text.generated
        assert text.stop in ("length", "cancelled")
        assert len(text.generated) == 5 or text.stop == "cancelled"
    decoder.close()
    decoder.close()
    with pytest.raises(ValueError, match="closed"):
        decoder.submit(text_of([1]))


def test_what_begins_alike_is_evaluated_once(three: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    fed = watch_feeds(monkeypatch)
    decoder = Decoder(three)
    context = list(range(60))
    first = text_of([*context, 100])
    list(decoder.stream(first))
    fed.clear()
    forks = [decoder.fork(first, [*context, 101 + i], max_tokens=1 + i) for i in range(3)]
    for fork in forks:
        list(decoder.stream(fork))
        assert (fork.n_cached, fork.ignore_ends) == (60, True)
    assert max(length for _, _, length in fed) == 1
    assert forks[1].generated != []
    # A running text is found too.
    running = text_of([*range(150, 190), 5], max_tokens=50)
    decoder.submit(running)
    decoder.step()
    fork = decoder.fork(running, [*range(150, 190), 6], max_tokens=2)
    list(decoder.stream(fork))
    assert (fork.n_cached, running.stop) == (40, None)


def test_the_least_recently_used_gives_way_and_what_is_pinned_stays(three: Trio) -> None:
    decoder = Decoder(three)
    held = decoder.pin(list(range(30)), ROLES)
    beginnings = [list(range(50 + 20 * i, 65 + 20 * i)) for i in range(3)]
    for tokens in beginnings:
        list(decoder.stream(text_of(tokens)))
    assert len(three.prefixes) == 3
    found = {}
    for name, tokens in (("pinned", list(range(30))), ("new", beginnings[2])):
        text = text_of([*tokens, 1], max_tokens=1)
        list(decoder.stream(text))
        found[name] = text.n_cached
    assert found == {"pinned": 30, "new": 15}
    gone = text_of([*beginnings[0], 1])
    list(decoder.stream(gone))
    assert gone.n_cached == 0
    decoder.unpin(held)


def test_a_prompt_that_is_the_pinned_beginning_is_answered(three: Trio) -> None:
    """Nothing was left to feed, and the step ended in a KeyError."""
    prompt = list(range(20))
    plain = Text(prompt, WEIGHTS, max_tokens=4)
    list(Decoder(three, keep=False).stream(plain))
    decoder = Decoder(three)
    for length in (20, 19, 1):
        held = decoder.pin(prompt[:length], ROLES)
        text = Text(prompt, WEIGHTS, max_tokens=4)
        list(decoder.stream(text))
        assert (text.tokens, text.n_cached) == (plain.tokens, min(length, 19))
        decoder.unpin(held)
        three.prefixes.evict()


def free_places(trio: Trio) -> int:
    """How many places nobody has."""
    while trio.prefixes.evict():
        pass
    taken = []
    try:
        while True:
            taken.append(trio.take())
    except FullError:
        return len(taken)
    finally:
        for slot in taken:
            trio.give(slot)


def test_no_place_is_lost(three: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(three)
    with pytest.raises(ContextFullError):
        decoder.pin([1] * 600, ROLES)
    with monkeypatch.context() as patch:
        patch.setattr(Trio, "_feed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            decoder.pin([1] * 6, ROLES)
        with pytest.raises(KeyboardInterrupt):
            list(decoder.stream(text_of([1, 2])))
    decoder.close()
    assert free_places(three) == 3
    forgotten = Decoder(three)
    forgotten.submit(text_of([1, 2], max_tokens=None))
    forgotten.step()
    assert free_places(three) == 2
    del forgotten
    gc.collect()
    assert free_places(three) == 3
    left = Decoder(three).run(text_of([i]) for i in range(9))
    next(left)
    left.close()
    del left
    gc.collect()
    assert free_places(three) == 3


def test_only_looking_generates_nothing(tiny_spec: TrioSpec, tiny_files: dict[str, Path]) -> None:
    """`max_tokens=0` was no limit at all."""
    tokens = list(range(40, 80))
    with Trio(tiny_spec, ROLES, dataclasses.replace(QUICK, n_outputs=7)) as trio:
        decoder = Decoder(trio)
        whole, tail = LogProbs(WEIGHTS), LogProbs(WEIGHTS, start=29)
        for seen in (whole, tail):
            text = Text(tokens, WEIGHTS, max_tokens=0, observers=(seen,))
            assert list(decoder.stream(text)) == []
            assert (text.stop, text.tokens) == ("length", tokens)
        assert text.n_cached == 29
        warm = Text(tokens, WEIGHTS, max_tokens=0)
        (done,) = decoder.run([warm])
        assert done.stop == "length"
        follower = Text([*tokens, 1], WEIGHTS, max_tokens=1)
        list(decoder.stream(follower))
        assert follower.n_cached == len(tokens)
    assert (len(whole.values), len(tail.values)) == (39, 10)
    np.testing.assert_allclose(whole.values[29:], tail.values, atol=1e-3)
    rows = {role: prefix_logits(tiny_files[role], tokens[:-1]) for role in ROLES}
    fused = sum(c * rows[role].astype(np.float64) for role, c in WEIGHTS.coefficients.items())
    assert tail.values[-1] == pytest.approx(log_softmax(np.asarray(fused))[tokens[-1]], abs=1e-3)
    assert tail.greedy[-1] == (int(np.argmax(fused)) == tokens[-1])


def test_only_looking_needs_what_is_looked_at(tiny_spec: TrioSpec) -> None:
    """The weights of a text that generates nothing may name roles that are not loaded."""
    with Trio(tiny_spec, ("cpt",), QUICK) as trio:
        text = Text([1, 2, 3], WEIGHTS, max_tokens=0, observers=(LogProbs(Weights(0, 1)),))
        assert list(Decoder(trio).stream(text)) == []
        assert text.stop == "length"
        assert trio.roles == ("cpt",)


def test_a_continuation_costs_its_own_rows(three: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    context, ends = list(range(100)), [[1, 2, 3], [1, 2, 4], [9]]
    decoder, fed = Decoder(three), watch_feeds(monkeypatch)
    base = Text(context, WEIGHTS, max_tokens=0)
    list(decoder.stream(base))
    for end in ends:
        fed.clear()
        seen = LogProbs(WEIGHTS, start=len(context) - 1)
        text = decoder.fork(base, [*context, *end], observers=(seen,))
        list(decoder.stream(text))
        assert len(seen.values) == len(end)
        assert sum(length for role, _, length in fed if role == "large") <= len(end) + 1


def test_a_long_prompt_does_not_hold_up_the_others(
    tiny_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(THREE, n_prefill=16, n_batch=128)
    with Trio(tiny_spec, ROLES, options) as trio:
        fed, decoder = watch_feeds(monkeypatch), Decoder(trio)
        runs, long = text_of([1, 2], max_tokens=20), text_of(list(range(200)))
        decoder.submit(long)
        decoder.step()
        assert max(length for _, _, length in fed) == 128  # nobody waits
        decoder.submit(runs)
        decoder.step()
        fed.clear()
        while long.n_cached == 0 and not long.generated:
            assert decoder.step()[0].text is runs
        assert max(length for _, _, length in fed) == 16


def test_every_token_is_counted(three: Trio) -> None:
    """Tokens of steps in which another text had a prompt were not."""
    decoder = Decoder(three, keep=False)
    first, second = text_of([1, 2], max_tokens=9), text_of([7] * 300, max_tokens=4)
    decoder.submit(first)
    for _ in range(3):
        decoder.step()
    began = time.perf_counter()
    list(decoder.run([second]))
    timings = decoder.timings
    assert timings.generated_tokens == len(first.generated) + len(second.generated)
    assert (timings.prompt_tokens, timings.first_tokens) == (302, 2)
    assert timings.generation_seconds > 0
    assert second.timings.prompt_seconds <= time.perf_counter() - began
    spent = timings.prompt_seconds + timings.generation_seconds
    assert spent >= timings.models + timings.fusion + timings.sampling > 0
    assert first.timings.generated_tokens == len(first.generated)
    assert second.timings.prompt_tokens == 300


@pytest.mark.parametrize("n_before", range(6))
def test_ctrl_c_anywhere_in_close_frees_everything_once(
    tiny_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch, n_before: int
) -> None:
    freed = Freed(monkeypatch)
    trio = Trio(tiny_spec, ROLES, THREE)
    decoder = Decoder(trio)
    decoder.submit(text_of([1, 2]))
    decoder.step()
    freed.after = n_before
    with pytest.raises(KeyboardInterrupt):
        trio.close()
    trio.close()
    decoder.close()
    del decoder, trio
    gc.collect()
    assert freed.log == ["llama_free"] * 3 + ["llama_model_free"] * 3


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_length_is_that_of_a_loop(left: list[int], right: list[int]) -> None:
    shorter = min(len(left), len(right))
    expected = next((i for i in range(shorter) if left[i] != right[i]), shorter)
    assert common_length(left, right) == expected


@pytest.fixture(scope="module")
def slow_spec(tmp_path_factory: pytest.TempPathFactory) -> TrioSpec:
    """A model that takes a good part of a second for a batch of 1000 tokens."""
    path = tmp_path_factory.mktemp("slow") / "slow.gguf"
    write_tiny_model(path, n_embd=192, n_ff=768, n_layer=6, n_head=3)
    return TrioSpec("slow", {"large": RoleSpec(path)})


@pytest.mark.parametrize("how", ["cancel", "ctrl-c"])
def test_a_long_batch_is_left_at_once(slow_spec: TrioSpec, how: str) -> None:
    options = dataclasses.replace(QUICK, n_ctx=1024, n_batch=1024, n_ubatch=512)
    tokens = [i % 250 for i in range(1000)]
    with Trio(slow_spec, ("large",), options) as trio:
        decoder = Decoder(trio, keep=False)
        began = time.perf_counter()
        whole = Text(tokens, Weights(1, 0), max_tokens=2)
        list(decoder.stream(whole))
        usual = time.perf_counter() - began

        for _ in range(10):  # on a busy machine the moment may be missed
            text = Text(tokens, Weights(1, 0), max_tokens=2)
            was_left = left_after(usual / 8, decoder, text, how)
            if how == "cancel":
                text = Text(tokens, Weights(1, 0), max_tokens=2)
            if was_left and trio.context("large").last_position(0) in (-1, 511):
                break
            decoder.drop(text)
        else:
            pytest.fail("a batch was never left between its two micro-batches")
        # What was interrupted goes on.
        list(decoder.stream(text))
        assert text.tokens == whole.tokens


def left_after(seconds: float, decoder: Decoder, text: Text, how: str) -> bool:
    """Step a text until it is cancelled, or Ctrl-C comes: whether its prompt was not yet there."""
    done = threading.Event()

    def leave() -> None:
        if how == "cancel":
            decoder.cancel(text)
        else:
            os.kill(os.getpid(), signal.SIGINT)
        done.set()

    timer = threading.Timer(seconds, leave)
    timer.start()
    try:
        list(decoder.stream(text))
        done.wait()
        time.sleep(0.1)  # Ctrl-C comes here, if the text was quicker
    except KeyboardInterrupt:
        assert how == "ctrl-c"
    if how == "cancel":
        return text.stop == "cancelled" and len(text.tokens) == 1000
    return not text.stop and len(text.tokens) == 1000


@pytest.mark.parametrize("elsewhere", [(), ("large",)])
def test_one_thread_computes(
    elsewhere: tuple[str, ...], tiny_spec: TrioSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenMP gives every thread that computes a team of its own, and teams fight for the cores.

    One more waits for another device, such as large might be on.
    """
    threads, run = {True: set[int](), False: set[int]()}, Context._run
    away = [tiny_spec.roles[role].path for role in elsewhere]
    monkeypatch.setattr(Model, "offloaded", property(lambda model: model.path in away))

    def noted(self: Context, batch: object, n_outputs: int) -> None:
        threads[self.model.offloaded].add(threading.get_ident())
        run(self, batch, n_outputs)

    monkeypatch.setattr(Context, "_run", noted)
    with Trio(tiny_spec, ROLES, QUICK) as trio:
        text = Text([7] * 200, Weights(0.3, 0.9), max_tokens=4)
        (done,) = Decoder(trio).run([text])
        assert len(done.generated) == 4
    assert threads[False] == {threading.get_ident()}
    assert len(threads[True] - threads[False]) == len(elsewhere)
