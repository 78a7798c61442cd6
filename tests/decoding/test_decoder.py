"""The loop: identities, roll-backs, many sequences; on the demo trio and on tiny models."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from trimix_cpp.decoding.answers import generate
from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.loading import Loader
from trimix_cpp.decoding.speculation import Speculator
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Feed, Trio
from trimix_cpp.errors import AlignmentError, ContextFullError, FullError, TrimixError
from trimix_cpp.fusion.roles import DRAFT
from trimix_cpp.fusion.rows import log_softmax
from trimix_cpp.fusion.sampling import Sampler
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..conftest import QUICK, ROLES
from ..llama.test_context import Freed
from ..support.tiny import write_lora, write_tiny_model

PROMPT = "Please translate the following English text into Uyghur.\nEnglish: {}\nUyghur: "
PROMPTS = [PROMPT.format(text) for text in ("Open the file", "Close", "Save as...")]
UYGHUR = "ھۆججەتنى ئېچىش مەغلۇپ بولدى، قايتا سىناڭ"
TIBETAN = "བོད་སྐད་ནི་བརྒྱུད་པའི་སྐད་ཡིག"


def complete(trio: Trio, prompt: str, **options: object) -> Text:
    """One sequence, alone, to its end."""
    defaults: dict[str, object] = {"weights": Weights(0.7, 0.5), "max_tokens": 12}
    text = Text(trio.tokenize(prompt), **{**defaults, **options})  # type: ignore[arg-type]
    (done,) = generate(Decoder(trio, keep=False), [text])
    return done


def prefix_logits(path: Path, tokens: list[int]) -> np.ndarray:
    """The last logits row of one model, read without the trio."""
    with Model(path) as model, Context(model, n_ctx=512, n_threads=1) as context:
        n = len(tokens)
        # The decoder feeds a prompt in one batch too, and asks for its last row.
        at = np.arange(n, dtype=np.int32)
        context.decode(np.array(tokens, np.int32), at, at * 0, at == n - 1)
        return context.logits()[0].copy()


def watch_feeds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """(role, start, tokens) of everything that is fed from now on."""
    fed: list[tuple[str, int, int]] = []
    plain = Trio.decode

    def spy(self: Trio, feeds: dict[str, list[Feed]]) -> dict[str, np.ndarray]:
        for role, own in feeds.items():
            fed.extend((role, feed.start, len(feed.tokens)) for feed in own)
        return plain(self, feeds)

    monkeypatch.setattr(Trio, "decode", spy)
    return fed


@contextmanager
def interrupted_at(n: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ctrl-C falls after a role was fed for the `n`th time, and before anybody knows."""
    plain, calls = Trio._feed, 0

    def interrupted(self: Trio, role: str, feeds: list[Feed]) -> np.ndarray:
        nonlocal calls
        rows = plain(self, role, feeds)
        calls += 1
        if calls == n:
            raise KeyboardInterrupt
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(Trio, "_feed", interrupted)
        yield


@dataclasses.dataclass(frozen=True)
class Recorder(Sampler):
    """A sampler that keeps the rows which it picks from."""

    rows: list[np.ndarray] = dataclasses.field(default_factory=list)

    def pick(self, logits: np.ndarray, recent: Sequence[int], position: int) -> int:
        self.rows.append(logits.copy())
        return super().pick(logits, recent, position)


@pytest.mark.parametrize("text", [PROMPTS[0], UYGHUR, TIBETAN])
@pytest.mark.parametrize(("pair", "role"), [((1, 0), "large"), ((0, 1), "cpt"), ((0, 0), "base")])
def test_single_weights_are_the_single_model(
    demo_spec: TrioSpec, pair: tuple[float, float], role: str, text: str
) -> None:
    weights = Weights(*pair)
    with Trio(demo_spec, weights.roles, QUICK) as trio:
        assert trio.roles == (role,)
        recorder = Recorder()
        (done,) = Decoder(trio).run([Text(trio.tokenize(text), weights, recorder, max_tokens=8)])
    path = demo_spec.roles[role].path
    assert recorder.rows[0].tobytes() == prefix_logits(path, done.tokens[: done.n_prompt]).tobytes()
    # Stepping the model by hand, token by token, gives the same ids.
    with Model(path) as model, Context(model, n_ctx=512, n_threads=1) as context:
        tokens, fed = done.tokens[: done.n_prompt], 0
        while len(tokens) < len(done.tokens):
            at = np.arange(fed, len(tokens), dtype=np.int32)
            context.decode(np.array(tokens[fed:], np.int32), at, at * 0, at == len(tokens) - 1)
            fed = len(tokens)
            tokens.append(int(np.argmax(context.logits()[0])))
    assert tokens == done.tokens


@pytest.mark.parametrize("pair", [(0.7, 0.5), (0.1, 0.9), (0.3, 0.9), (0.0, 0.5), (1.0, 1.0)])
def test_equation_5_on_logits_read_separately(
    demo_spec: TrioSpec, pair: tuple[float, float]
) -> None:
    weights = Weights(*pair)
    for text in (PROMPTS[0], UYGHUR):
        with Trio(demo_spec, weights.roles, QUICK) as trio:
            recorder, prompt = Recorder(), trio.tokenize(text)
            (done,) = Decoder(trio).run([Text(prompt, weights, recorder, max_tokens=1)])
        rows = {
            role: prefix_logits(demo_spec.roles[role].path, done.tokens[:-1]).astype(np.float64)
            for role in ROLES
        }
        alpha, beta = pair
        expected = alpha * rows["large"] + beta * rows["cpt"] + (1 - alpha - beta) * rows["base"]
        np.testing.assert_allclose(recorder.rows[0], expected, atol=1e-4)
        assert done.tokens[-1] == int(np.argmax(expected))


def test_a_role_without_a_coefficient_needs_no_file(demo_spec: TrioSpec, tmp_path: Path) -> None:
    broken = dict(demo_spec.roles)
    broken["base"] = RoleSpec(tmp_path / "missing.gguf")
    spec = dataclasses.replace(demo_spec, roles=broken)
    with Trio(spec, Weights(0.1, 0.9).roles, QUICK) as trio:
        assert trio.roles == ("large", "cpt")
        with pytest.raises(TrimixError, match="no such file"):
            complete(trio, "a", weights=Weights(0.3, 0.9))
        # What failed to load leaves the rest in working order.
        assert complete(trio, PROMPTS[0], weights=Weights(0.1, 0.9)).stop is not None


def test_roles_that_cannot_all_be_had_change_nothing(
    demo_files: dict[str, Path], tmp_path: Path
) -> None:
    """base fails last, when cpt's context is already there."""
    roles = {role: RoleSpec(path) for role, path in demo_files.items()}
    roles["base"] = RoleSpec(demo_files["base"], lora=tmp_path / "missing.gguf")
    spec = TrioSpec("broken", roles)
    with Trio(spec, ("large",), QUICK) as trio:
        with pytest.raises(TrimixError, match="no such file"):
            trio.require(("cpt", "base"))
        assert trio.roles == tuple(trio.alignment.columns) == ("large",)
        trio.require(("cpt",))
        assert trio.roles == ("large", "cpt")


def test_a_seed_reproduces_and_another_does_not(demo_trio: Trio) -> None:
    sampler = Sampler(temperature=1.5, top_k=0, top_p=1, min_p=0, seed=0)
    texts = [complete(demo_trio, UYGHUR, sampler=sampler, max_tokens=20).tokens for _ in range(2)]
    assert texts[0] == texts[1]
    other = dataclasses.replace(sampler, seed=1)
    assert complete(demo_trio, UYGHUR, sampler=other, max_tokens=20).tokens != texts[0]


def test_stop_rules(demo_trio: Trio) -> None:
    plain = complete(demo_trio, PROMPTS[0], max_tokens=30, weights=Weights(0, 1))
    assert plain.stop in ("end", "length")
    limited = complete(demo_trio, PROMPTS[0], max_tokens=3, weights=Weights(0, 1))
    assert (limited.stop, limited.generated) == ("length", plain.generated[:3])
    stop = plain.text[2:5]
    stopped = complete(
        demo_trio, PROMPTS[0], max_tokens=30, weights=Weights(0, 1), stops=(stop, "nowhere")
    )
    assert stopped.stop == "stop"
    assert stopped.text == plain.text.partition(stop)[0]


def test_the_context_ends_a_text_and_refuses_a_prompt(tiny_spec: TrioSpec) -> None:
    with Trio(tiny_spec, ROLES, dataclasses.replace(QUICK, n_ctx=300)) as trio:
        prompt = [7] * 290
        (done,) = Decoder(trio).run([Text(prompt, Weights(0.7, 0.5))])
        assert done.stop in ("context", "end")
        assert done.stop == "end" or len(done.tokens) == 300
        with pytest.raises(ContextFullError, match="300"):
            list(Decoder(trio).stream(Text([7] * 300, Weights(0.7, 0.5))))


def test_end_of_generation_of_any_role_ends(tiny_trio: Trio) -> None:
    ends = tiny_trio.alignment.ends(ROLES)
    names = {tiny_trio.text_of(token) for token in ends}
    assert names == {"<|endoftext|>", "<|im_end|>"}


# Exact mode is a switch of the whole process, so it is tried in a child.
SCRIPT = Path(__file__).parent / "exact_runs.py"


@pytest.mark.parametrize(
    ("case", "threads"),
    [
        ("together", 1),
        ("together", 2),
        ("shared", 1),
        ("chunks", 1),
        ("float", 1),
        ("float", 2),
        ("rewind", 1),
    ],
)
def test_exact_mode_is_bit_for_bit(
    case: str, threads: int, tiny_files: dict[str, Path], demo_spec: TrioSpec
) -> None:
    files = tiny_files if case == "float" else {r: s.path for r, s in demo_spec.roles.items()}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), case, str(threads), *(str(files[r]) for r in ROLES)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "equal"


def test_texts_of_different_length_weights_and_samplers_together(tiny_spec: TrioSpec) -> None:
    """Five texts share three places; float32 weights round alike in batches of any size."""
    jobs = [
        (PROMPTS[0], Weights(0.7, 0.5), Sampler()),
        (UYGHUR, Weights(0, 1), Sampler()),
        (PROMPTS[2], Weights(1, 0), Sampler(temperature=0.8, seed=3)),
        (TIBETAN, Weights(0.1, 0.9), Sampler()),
        (PROMPTS[1], Weights(0.3, 0.9), Sampler(repeat_penalty=1.3)),
    ]

    def texts(trio: Trio) -> list[Text]:
        return [
            Text(trio.tokenize(text), weights, sampler, max_tokens=5 + i)
            for i, (text, weights, sampler) in enumerate(jobs)
        ]

    kinds = dict.fromkeys(ROLES, "f32")
    options = dataclasses.replace(QUICK, flash_attn=False, type_k=kinds, type_v=kinds)
    with Trio(tiny_spec, ROLES, dataclasses.replace(options, n_parallel=3)) as trio:
        decoder, together = Decoder(trio), texts(trio)
        assert {*decoder.run(iter(together))} == {*together}
        assert not decoder.running
    with Trio(tiny_spec, ROLES, options) as trio:
        alone = texts(trio)
        list(Decoder(trio).run(alone))
    assert [text.tokens for text in together] == [text.tokens for text in alone]
    assert {text.stop for text in together} <= {"length", "end"}


def test_a_full_house_is_refused(tiny_trio: Trio) -> None:
    first = Decoder(tiny_trio)
    first.submit(Text([1], Weights(1, 0), ignore_ends=True))
    first.step()
    with pytest.raises(FullError, match="1 places are taken"):
        list(Decoder(tiny_trio).stream(Text([1], Weights(1, 0))))
    first.close()
    assert list(Decoder(tiny_trio).run([Text([1], Weights(1, 0), max_tokens=1)]))
    with pytest.raises(TrimixError, match="prompt is empty"):
        Text([], Weights(1, 0))


def test_only_what_is_new_is_evaluated(tiny_trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    fed = watch_feeds(monkeypatch)
    decoder = Decoder(tiny_trio)
    text = Text(list(range(50)), Weights(0.7, 0.5), max_tokens=4)
    list(decoder.stream(text))
    longer = [*text.tokens, *range(60, 70)]
    fed.clear()
    follower = Text(longer, Weights(0.7, 0.5), max_tokens=1)
    list(decoder.stream(follower))
    # The last token of the reply was never fed; it goes with the new ones.
    assert follower.n_cached == len(longer) - 11
    assert fed == [(role, len(longer) - 11, 11) for role in ROLES]


def test_a_role_that_joins_late_catches_up(tiny_spec: TrioSpec) -> None:
    tokens = list(range(40))
    with Trio(tiny_spec, ("cpt",), QUICK) as trio:
        decoder = Decoder(trio)
        text = Text(tokens, Weights(0, 1), max_tokens=3)
        list(decoder.stream(text))
        text = Text([*text.tokens, 9], Weights(0.7, 0.5), max_tokens=3)
        list(decoder.stream(text))
        late = text.tokens
    with Trio(tiny_spec, ROLES, QUICK) as trio:
        fresh = Text(late[: text.n_prompt], Weights(0.7, 0.5), max_tokens=3)
        (done,) = Decoder(trio).run([fresh])
    assert done.tokens == late


def test_an_interrupted_step_leaves_the_roles_at_one_position(
    tiny_trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C may fall between two roles, or between a role and its book-keeping."""
    reference = complete(tiny_trio, "salam dunya", max_tokens=12)
    for stop_at in range(1, 15):
        decoder = Decoder(tiny_trio, keep=False)
        text = Text(tiny_trio.tokenize("salam dunya"), Weights(0.7, 0.5), max_tokens=12)
        shown: list[str] = []
        with interrupted_at(stop_at, monkeypatch), pytest.raises(KeyboardInterrupt):
            shown.extend(decoder.stream(text))
        (event,) = decoder.step()
        positions = {tiny_trio.context(role).last_position(0) for role in ROLES}
        assert positions == {len(text.tokens) - 2}
        assert event.tokens == (text.tokens[-1],)
        shown += decoder.stream(text)
        assert (text.tokens, "".join(shown)) == (reference.tokens, reference.text)


def test_devices_in_threads_give_what_one_after_the_other_gives(
    tiny_trio: Trio, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = complete(tiny_trio, "salam").tokens
    # Without a GPU the grouping is forced: large as if on one, the others on the CPU.
    large = tiny_trio.context("large").model
    monkeypatch.setattr(Model, "offloaded", property(lambda model: model is large))
    assert complete(tiny_trio, "salam").tokens == alone
    broken = complete(tiny_trio, "salam", max_tokens=1)
    assert (broken.stop, broken.tokens) == ("length", alone[: len(broken.tokens)])
    monkeypatch.setattr(Trio, "_feed", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        complete(tiny_trio, "salam")


def test_control_tokens_have_larges_probability(demo_spec: TrioSpec) -> None:
    """After the line of an answer large is less sure of the turn's end than the fusion."""
    files, weights = demo_spec.roles, Weights(0.3, 0.9)
    rows = {}
    with Trio(demo_spec, ROLES, QUICK) as trio:
        prompt = trio.tokenize(PROMPTS[1] + "ھۆججەت ئاچ\n")
        control = trio.alignment.control(weights.roles)
        for policy in ("fused", "large"):
            recorder = Recorder()
            text = Text(prompt, weights, recorder, policy, max_tokens=1)  # type: ignore[arg-type]
            list(Decoder(trio, keep=False).stream(text))
            rows[policy] = np.exp(log_softmax(recorder.rows[0]))
    large = np.exp(log_softmax(prefix_logits(files["large"].path, prompt)))
    mass = {name: float(row[control].sum()) for name, row in (*rows.items(), ("alone", large))}
    assert mass["large"] == pytest.approx(mass["alone"], rel=0.02)
    assert abs(mass["fused"] - mass["alone"]) > 0.1 * mass["alone"]
    rest = rows["fused"][~control] / (1 - mass["fused"]) * (1 - mass["large"])
    np.testing.assert_allclose(rows["large"][~control], rest, rtol=1e-3, atol=1e-9)


def test_only_roles_in_use_end_a_text(tiny_spec: TrioSpec, tmp_path: Path) -> None:
    """A drafting model, or a role that is only loaded, ended texts with its own end."""
    other = write_tiny_model(tmp_path / "other.gguf", seed=1, eos="a")
    roles = {**tiny_spec.roles, "base": RoleSpec(other), DRAFT: RoleSpec(other)}
    spec = dataclasses.replace(tiny_spec, roles=roles)
    with Trio(spec, ROLES, dataclasses.replace(QUICK, n_outputs=8)) as trio:
        trio.require((DRAFT,))
        (end,) = trio.tokenize("a")
        ends = trio.alignment.ends(("large", "cpt"))
        assert end not in ends
        assert trio.alignment.ends(ROLES) == ends | {end}
        assert trio.alignment.control(("large", "cpt")).sum() + 1 == (
            trio.alignment.control(ROLES).sum()
        )
        assert trio.alignment.ends() == trio.alignment.ends(ROLES)
        plain = complete(trio, "salam", weights=Weights(0.1, 0.9), max_tokens=12)
        drafting = Decoder(trio, Speculator(3, draft_role=DRAFT))
        text = Text(trio.tokenize("salam"), Weights(0.1, 0.9), max_tokens=12)
        list(drafting.stream(text))
        assert (text.tokens, text.stop) == (plain.tokens, plain.stop)


def test_a_refused_role_is_not_kept(
    tiny_spec: TrioSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stayed in memory, gigabytes of it."""
    foreign = write_tiny_model(tmp_path / "foreign.gguf", merges=("a b",))
    spec = dataclasses.replace(tiny_spec, roles={**tiny_spec.roles, "base": RoleSpec(foreign)})
    freed = Freed(monkeypatch)
    with Trio(spec, ("large", "cpt"), QUICK) as trio:
        before = trio.alignment
        with pytest.raises(AlignmentError) as refused:
            trio.require(("base",))
        assert freed.log == ["llama_model_free"]
        assert (trio.roles, trio.alignment) == (("large", "cpt"), before)
        monkeypatch.setattr(Loader, "check_memory", no_memory)
        spec.roles["base"] = tiny_spec.roles["base"]  # type: ignore[index]
        with pytest.raises(TrimixError, match="memory"):
            trio.require(("base",))
        assert freed.log == ["llama_model_free"] * 2
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.exit_code) == (str(refused.value), 3)
    with pytest.raises(ValueError, match="closed"):
        trio.require(("base",))


def no_memory(*_: object) -> None:
    raise TrimixError("no memory")


@pytest.mark.parametrize("kind", ["symbolic", "hard", "spelled"])
def test_a_file_of_several_names_is_loaded_once(
    kind: str, tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    name = tmp_path / "again.gguf"
    if kind == "symbolic":
        name.symlink_to(tiny_files["base"])
    elif kind == "hard":
        name.hardlink_to(tiny_files["base"])
    else:
        name = tiny_files["base"].parent / ".." / tiny_files["base"].parent.name / "base.gguf"
    spec = TrioSpec("twice", {"base": RoleSpec(tiny_files["base"]), "cpt": RoleSpec(name)})
    with Trio(spec, ("cpt", "base"), QUICK) as trio:
        assert trio.context("cpt").model is trio.context("base").model


def test_a_cpt_made_by_lora_shares_the_base(demo_files: dict[str, Path], tmp_path: Path) -> None:
    lora = write_lora(tmp_path / "lora.gguf", n_embd=256)
    base = demo_files["base"]
    spec = TrioSpec("lora", {"base": RoleSpec(base), "cpt": RoleSpec(base, lora)})
    tokens = {}
    with Trio(spec, ("cpt", "base"), QUICK) as trio:
        assert trio.context("cpt").model is trio.context("base").model
        for pair in ((0, 0), (0, 1), (0, 0.5)):
            tokens[pair] = complete(trio, UYGHUR, weights=Weights(*pair)).tokens
    assert tokens[0, 0] != tokens[0, 1]
    with Trio(spec, ("base",), QUICK) as trio:
        assert complete(trio, UYGHUR, weights=Weights(0, 0)).tokens == tokens[0, 0]
