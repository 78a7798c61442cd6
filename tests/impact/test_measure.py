"""The instrument of `impact`: on tiny models everything can be reckoned in another way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from trimix_cpp.convert.expand import expand
from trimix_cpp.decoding.trio import Feed, Options, Trio
from trimix_cpp.errors import AlignmentError, TrimixError, UsageError
from trimix_cpp.fusion.divergences import Judge, figures
from trimix_cpp.fusion.grid import Grid
from trimix_cpp.fusion.rows import fuse
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.impact.compare import (
    Task,
    alone_name,
    compare_sides,
    fused_name,
    noise_side,
    regret,
    subsets,
    sweep_name,
)
from trimix_cpp.impact.evaluator import Evaluator
from trimix_cpp.impact.sides import Side, Workshop
from trimix_cpp.impact.windows import Window, noise_windows
from trimix_cpp.quant.profiles import load_profile, profile_names
from trimix_cpp.store.spec import RoleSpec, TrioSpec

from ..support.quantized import quantize
from ..support.tiny import write_tiny_model

ROLES = ("large", "cpt", "base")
N_CTX = 32
UYGHUR = "ھەممە ئادەم زاتىدىنلا ئەركىن، ئىززەت-ھۆرمەت ۋە ھوقۇقتا باپباراۋەر بولۇپ تۇغۇلغان. "
TIBETAN = "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང༌། "
WHOLE = Task(Weights(0.6, 0.7), sweep=True, grid=Grid((0.1, 0.6), (0.2, 0.7)))


@pytest.fixture(scope="module")
def workshop(tiny_spec: TrioSpec, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tiny_spec, ROLES, tmp_path_factory.mktemp("made"), lambda _: nullcontext())


@pytest.fixture(scope="module")
def sides(workshop: Workshop) -> dict[str, Side]:
    return {name: workshop.side(name) for name in ("source", "Q8_0", "Q4_0")}


@pytest.fixture
def evaluator(tiny_spec: TrioSpec) -> Iterator[Evaluator]:
    with Evaluator(tiny_spec.roles, n_ctx=N_CTX, n_threads=1) as found:
        yield found


@pytest.fixture
def windows(evaluator: Evaluator) -> list[Window]:
    return [*evaluator.windows(UYGHUR, "uig")[:2], *evaluator.windows(TIBETAN, "bod")[:2]]


def test_windows_are_scored_by_the_written_rule(evaluator: Evaluator, tiny_trio: Trio) -> None:
    text = UYGHUR + TIBETAN
    tokens, raw = tiny_trio.tokenize(text), text.encode()
    windows = evaluator.windows(text, "both")
    assert len(windows) == len(tokens) // N_CTX
    for number, window in enumerate(windows):
        start = number * N_CTX
        assert window.tokens.tolist() == tokens[start : start + N_CTX]
        assert window.targets.tolist() == tokens[start + N_CTX // 2 + 1 : start + N_CTX]
        before = sum(len(tiny_trio.piece(t)) for t in tokens[: start + N_CTX // 2 + 1])
        piece = raw[before : before + int(window.n_bytes.sum())]
        assert b"".join(map(tiny_trio.piece, window.targets.tolist())) == piece


def test_rows_are_those_of_the_models(
    evaluator: Evaluator, windows: list[Window], sides: dict[str, Side], tiny_spec: TrioSpec
) -> None:
    window = windows[0]
    out = np.empty((1, len(window.targets), evaluator.n_tokens), np.float32)
    with Trio(tiny_spec, ROLES, Options(n_ctx=N_CTX, n_outputs=N_CTX, n_threads=1)) as trio:
        feed = Feed(0, window.tokens[:-1].tolist(), 0, len(window.targets))
        rows = trio.decode({role: [feed] for role in ROLES})
        for role in ROLES:
            evaluator.evaluate(sides["source"].variants[role], [window], out)
            np.testing.assert_allclose(out[0], rows[role], atol=1e-3)


def test_a_side_against_itself_is_exactly_nothing(
    evaluator: Evaluator, windows: list[Window], sides: dict[str, Side], tmp_path: Path
) -> None:
    source = sides["source"]
    (same,) = compare_sides(evaluator, source, [source], windows, WHOLE, tmp_path)
    for measured in same.measured:
        for positions in measured.positions.values():
            assert not positions.kld.any()
            assert positions.same_top.all()
            np.testing.assert_array_equal(positions.nll, positions.nll_base)
    assert regret(same, WHOLE.grid or Grid()).nats == 0


def test_every_figure_is_the_fusion_of_stored_rows(
    evaluator: Evaluator, windows: list[Window], sides: dict[str, Side], tmp_path: Path
) -> None:
    """All combinations, reckoned anew from rows that are evaluated role by role."""
    task, window = WHOLE, windows[0]
    (found,) = compare_sides(evaluator, sides["source"], [sides["Q4_0"]], [window], task, tmp_path)
    rows = {}
    for name, role in itertools.product(("source", "Q4_0"), ROLES):
        out = np.empty((1, len(window.targets), evaluator.n_tokens), np.float32)
        evaluator.evaluate(sides[name].variants[role], [window], out)
        rows[name, role] = out[0]

    def kld(weights: Weights, chosen: tuple[str, ...]) -> np.ndarray:
        both = [
            fuse({r: rows[n if r in chosen else "source", r] for r in ROLES}, c, check=False)
            for n, c in (("source", weights.coefficients), ("Q4_0", weights.coefficients))
        ]
        return Judge(both[0], window.targets, window.n_bytes).compare(both[1]).kld

    for chosen in subsets(task.weights.roles):
        np.testing.assert_array_equal(
            found.positions(fused_name(chosen)).kld, kld(task.weights, chosen)
        )
    for line, value, weights in task.points():
        for role in weights.roles:
            positions = found.positions(sweep_name(line, value, role))
            np.testing.assert_array_equal(positions.kld, kld(weights, (role,)))


def test_a_single_model_is_its_own_fusion(
    evaluator: Evaluator, windows: list[Window], sides: dict[str, Side], tmp_path: Path
) -> None:
    for weights, role in (
        (Weights(1, 0), "large"),
        (Weights(0, 1), "cpt"),
        (Weights(0, 0), "base"),
    ):
        task = Task(weights)
        (found,) = compare_sides(
            evaluator, sides["source"], [sides["Q8_0"]], windows, task, tmp_path
        )
        assert task.roles == (role,)
        assert figures(found.positions(fused_name((role,)))) == figures(
            found.positions(alone_name(role))
        )


def test_one_model_at_a_time_gives_the_same(
    evaluator: Evaluator, windows: list[Window], sides: dict[str, Side], tmp_path: Path
) -> None:
    means = []
    for one_by_one, spool in ((False, 1 << 30), (True, 1 << 30), (True, 1 << 19)):
        cache = tmp_path / f"{one_by_one}-{spool}"
        cache.mkdir()
        (found,) = compare_sides(
            evaluator,
            sides["source"],
            [sides["Q8_0"]],
            windows,
            Task(Weights(0.6, 0.7)),
            cache,
            one_by_one=one_by_one,
            spool_bytes=spool,
        )
        means.append(found.positions(fused_name(ROLES)).kld.tolist())
    assert means[0] == means[1] == means[2]
    assert any(means[0])


def test_a_stopped_run_goes_on_where_it_was(
    evaluator: Evaluator, windows: list[Window], sides: dict[str, Side], tmp_path: Path
) -> None:
    def run(cache: Path, progress: Callable[[int, int], None] | None) -> list[float]:
        (found,) = compare_sides(
            evaluator,
            sides["source"],
            [sides["Q8_0"]],
            windows,
            Task(Weights(0.6, 0.7)),
            cache,
            progress=progress,
        )
        kld: list[float] = found.positions(fused_name(ROLES)).kld.tolist()
        return kld

    expected = run(tmp_path, None)
    for stop in range(0, 6 * len(windows), 5):
        cache = tmp_path / str(stop)
        cache.mkdir()
        calls: list[int] = []

        def interrupt(done: int, total: int, stop: int = stop, calls: list[int] = calls) -> None:
            calls.append(total)
            if len(calls) > stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(cache, interrupt)
        # Six variants a window: only whole windows are known.
        left: list[int] = []
        assert run(cache, lambda _, total, left=left: left.append(total)) == expected
        assert left[0] == 6 * (len(windows) - stop // 6)
        again: list[int] = []
        assert run(cache, lambda _, total, again=again: again.append(total)) == expected
        assert not again


def test_a_broken_cache_is_measured_again(
    evaluator: Evaluator, windows: list[Window], sides: dict[str, Side], tmp_path: Path
) -> None:
    def run() -> list[float]:
        (found,) = compare_sides(
            evaluator, sides["source"], [sides["Q8_0"]], windows, Task(Weights(1, 0)), tmp_path
        )
        kld: list[float] = found.positions(fused_name(("large",))).kld.tolist()
        return kld

    expected = run()
    files = sorted((tmp_path / "impact").rglob("*.window"))
    assert len(files) == len(windows)
    whole = files[0].read_bytes()
    other = files[1].read_bytes()
    flipped = bytes([*whole[:-9], whole[-9] ^ 1, *whole[-8:]])
    for damaged in (
        b"",
        whole[:10],
        whole[: len(whole) // 2],
        flipped,
        whole + b"\0",
        whole[:32] + other[32:],
    ):
        files[0].write_bytes(damaged)
        assert run() == expected
        assert files[0].read_bytes() == whole


def test_the_noise_floor_is_measured_on_every_slice(
    evaluator: Evaluator, windows: list[Window], sides: dict[str, Side], tmp_path: Path
) -> None:
    few = noise_windows([*windows, *windows])
    assert [w.label for w in few] == ["uig", "uig", "bod", "bod"]
    source = sides["source"]
    (noise,) = compare_sides(
        evaluator, source, [noise_side(source)], few, Task(Weights(0.6, 0.7)), tmp_path
    )
    (loss,) = compare_sides(
        evaluator, source, [sides["Q4_0"]], few, Task(Weights(0.6, 0.7)), tmp_path
    )
    name = fused_name(ROLES)
    assert 0 <= noise.mean_kld(name) < 1e-3 * loss.mean_kld(name)


def test_no_text_shorter_than_a_window(evaluator: Evaluator) -> None:
    with pytest.raises(TrimixError, match="has 3 tokens, and a window is 32"):
        evaluator.windows("abc", "short")


def test_models_that_are_not_the_references_are_refused(
    evaluator: Evaluator,
    windows: list[Window],
    sides: dict[str, Side],
    tmp_path: Path,
    tiny_files: dict[str, Path],
) -> None:
    source = sides["source"]
    strange = write_tiny_model(tmp_path / "strange.gguf", n_embd=96, n_head=3, merges=("a b",))
    smaller = tiny_files["cpt"]
    for path, error, words in (
        (strange, AlignmentError, "its vocabulary differs from that of large.gguf"),
        (smaller, TrimixError, "it is no quantization of this large"),
    ):
        wrong = replace(source.variants["large"], files=RoleSpec(path))
        side = replace(source, variants={**source.variants, "large": wrong})
        with pytest.raises(error, match=words):
            compare_sides(evaluator, source, [side], windows, Task(Weights(1, 0)), tmp_path)


def test_sides_have_the_files_that_their_names_say(
    workshop: Workshop, sides: dict[str, Side], tiny_spec: TrioSpec, tmp_path: Path
) -> None:
    own = {role: tiny_spec.roles[role].path for role in ROLES}
    assert {r: v.files.path for r, v in workshop.side("as-is").variants.items()} == own
    assert {r: v.files.path for r, v in sides["source"].variants.items()} == own
    assert {r: v.files.path for r, v in workshop.side("f32").variants.items()} == own
    assert set(sides["Q8_0"].types.values()) == {"Q8_0"}
    made = {path: path.stat().st_mtime_ns for path in workshop.cache.glob("models/*")}
    again = workshop.side("q8_0")
    assert again.variants == sides["Q8_0"].variants
    assert made == {path: path.stat().st_mtime_ns for path in workshop.cache.glob("models/*")}
    for name in profile_names():
        profile, side = load_profile(name), workshop.side(name)
        assert side.types == {role: profile.roles[role].type for role in ROLES}
        assert set(side.type_k.values()) == {profile.type_k}
    trio = tmp_path / "mine.toml"
    files = "\n".join(f'{r} = "{v.files.path}"' for r, v in sides["Q8_0"].variants.items())
    trio.write_text(f"[models]\n{files}\n")
    assert workshop.side(str(trio)).variants == sides["Q8_0"].variants
    trio.write_text('[models]\nbase = "x.gguf"\n')
    with pytest.raises(TrimixError, match="has no large"):
        workshop.side(str(trio))
    with pytest.raises(UsageError, match="no profile is called 'Q9'"):
        workshop.side("Q9")


def test_roles_that_share_a_file_share_its_quantization(
    tiny_files: dict[str, Path], tmp_path: Path
) -> None:
    files = {"large": tiny_files["large"], "cpt": tiny_files["cpt"], "base": tiny_files["cpt"]}
    spec = TrioSpec("shared", {role: RoleSpec(path) for role, path in files.items()})
    side = Workshop(spec, ROLES, tmp_path, lambda _: nullcontext()).side("laptop-8gb")
    assert side.variants["base"].files.path == side.variants["cpt"].files.path
    assert side.types["base"] == load_profile("laptop-8gb").roles["cpt"].type


def test_expanding_loses_nothing(tiny_files: dict[str, Path], tmp_path: Path) -> None:
    small = quantize(tiny_files["large"], tmp_path / "small.gguf", "Q8_0").path
    wide = expand(small, tmp_path / "wide.gguf")
    again = quantize(wide, tmp_path / "again.gguf", "Q8_0").path
    before, after, expanded = (
        {t.name: t for t in gguf.GGUFReader(path).tensors} for path in (small, again, wide)
    )
    for name, tensor in before.items():
        np.testing.assert_array_equal(tensor.data, after[name].data)
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert expanded[name].tensor_type == gguf.GGMLQuantizationType.F32
        np.testing.assert_array_equal(expanded[name].data.ravel(), values.ravel())
    fields = [gguf.GGUFReader(path).fields for path in (small, wide)]
    for name in fields[0].keys() - {"general.file_type", "GGUF.kv_count"}:
        assert fields[0][name].contents() == fields[1][name].contents(), name
    with pytest.raises(TrimixError, match="exists already"):
        expand(small, wide)
