"""`trimix-cpp impact` as a user has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trimix_cpp.commands import main
from trimix_cpp.impact.free_running import Answer, difference

from ..impact.test_measure import TIBETAN, UYGHUR
from ..support.cli import trimix
from ..support.tiny import write_tiny_model


@pytest.fixture(scope="module")
def arguments(tiny_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("impact")
    (folder / "uig.txt").write_text(UYGHUR, encoding="utf-8")
    (folder / "more.txt").write_text(UYGHUR[10:] + UYGHUR, encoding="utf-8")
    (folder / "bod.txt").write_text(TIBETAN, encoding="utf-8")
    models = [part for role, path in tiny_files.items() for part in (f"--{role}", str(path))]
    texts = [f"uig={folder / 'uig.txt'}", f"uig={folder / 'more.txt'}", f"{folder / 'bod.txt'}"]
    named = [part for text in texts for part in ("--text", text)]
    return [
        "impact", *models, *named, "-c", "32", "--chunks", "2", "-t", "1", "--weights", "0.6,0.7",
        "--cache", str(folder / "cache"),
    ]  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_the_document(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = document(
        capsys, *arguments, "--profiles", "Q8_0,Q4_0,source", "--slices", "language", "--sweep",
        "--grid",
    )  # fmt: skip
    assert found["windows"] == {"uig": 4, "bod": 2}
    assert found["coefficients"] == {"large": 0.6, "cpt": 0.7, "base": -0.3}
    assert [profile["name"] for profile in found["profiles"]] == ["Q8_0", "Q4_0", "source"]
    for profile in found["profiles"]:
        slices = profile["slices"]
        assert set(slices) == {"all", "uig", "bod"}
        whole = slices["all"]["fused"]
        parts = [slices[label]["fused"] for label in ("uig", "bod")]
        assert whole["positions"] == sum(part["positions"] for part in parts) == 6 * 15
        kld = sum(part["Mean KLD"]["value"] * part["positions"] for part in parts)
        assert whole["Mean KLD"]["value"] == pytest.approx(kld / whole["positions"])
        ablation = profile["ablation"]
        mean = ablation["mean KLD"]
        assert mean["large+cpt+base"] == pytest.approx(whole["Mean KLD"]["value"])
        pair = mean["large+cpt"] - mean["large"] - mean["cpt"]
        assert ablation["interaction"]["large+cpt"] == pytest.approx(pair)
        assert profile["weights"]["regret, nats a token"] >= 0
        assert len(profile["sweep"]) == 14
        assert profile["cost"]["disk_bytes"] > 0
    eight, four, same = (
        p["slices"]["all"]["fused"]["Mean KLD"]["value"] for p in found["profiles"]
    )
    assert 0 == same < eight < four


def test_files_are_slices(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, *arguments, "--profile", "Q8_0", "--slices", "file")
    assert found["windows"] == {"uig": 2, "more": 2, "bod": 2}


def test_text_markdown_and_picture(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    picture = tmp_path / "impact.png"
    code, out, _ = run(
        capsys, *arguments, "--profile", "Q8_0", "--slices", "language", "--sweep", "--grid",
        "--plot", str(picture),
    )  # fmt: skip
    assert code == 0
    assert "Mean PPL(Q)-PPL(base)" in out
    assert "only large" in out
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, out, _ = run(capsys, *arguments, "--profiles", "Q8_0,Q4_0", "--markdown")
    assert code == 0
    assert "| profile | large | cpt | base | KV | Mean KLD |" in out


def test_free_running(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    examples = [{"prompt": f"{UYGHUR[:20]}{i}", "reference": UYGHUR[20:40]} for i in range(4)]
    prompts.write_text("\n".join(map(json.dumps, examples)), encoding="utf-8")
    more = ["--answers", str(prompts), "-n", "8", "--no-noise"]
    found = document(capsys, *arguments, "--profiles", "source,Q4_0", *more)
    same, other = (profile["answers"] for profile in found["profiles"])
    assert same["same answers %"] == 100
    assert same["first differences"] == []
    assert same["chrF++ (base)"] == same["chrF++ (Q)"] == other["chrF++ (base)"]
    assert same["signature"].startswith("nrefs:1")
    assert len(other["first differences"]) == 4 * (1 - other["same answers %"] / 100)
    assert document(capsys, *arguments, "--profiles", "source,Q4_0", *more) == found


def test_what_is_called_alike_is_told_apart(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Texts and profiles of one file name in two folders stay two rows."""
    paths, profiles = [], []
    for folder, text in (("a", UYGHUR), ("b", TIBETAN)):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "uig.txt")
        paths[-1].write_text(text, encoding="utf-8")
        profiles.append(tmp_path / folder / "mine.toml")
        kind = "Q8_0" if folder == "a" else "Q4_0"
        lines = [f'[{role}]\ntype = "{kind}"' for role in ("large", "cpt", "base")]
        profiles[-1].write_text("\n".join(lines), encoding="utf-8")
    twins = [part for path in paths for part in ("--text", str(path))]
    names = ",".join(map(str, profiles))
    for by, known in (("file", {"uig", "more", "bod"}), ("language", {"uig", "bod"})):
        # "uig" is a label, or another file: the twins are called by their paths.
        found = document(capsys, *arguments, *twins, "--profiles", names, "--slices", by)
        labels = {*known, *map(str, paths)} - ({"uig"} if by == "file" else set())
        if by == "file":
            labels |= {name for name in found["windows"] if name.endswith("impact0/uig.txt")}
        assert set(found["windows"]) == labels
        assert set(found["profiles"][0]["slices"]) == {"all", *labels}
        assert [profile["name"] for profile in found["profiles"]] == list(map(str, profiles))
        losses = [p["slices"]["all"]["fused"]["Mean KLD"]["value"] for p in found["profiles"]]
        assert losses[0] < losses[1]


def test_no_slice_is_called_as_the_whole(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "all.txt").write_text(UYGHUR, encoding="utf-8")
    text = str(tmp_path / "all.txt")
    code, _, err = run(capsys, *arguments, "--text", f"all={text}", "--profile", "Q8_0")
    assert (code, err.count("\n")) == (2, 1)
    assert "another label" in err
    found = document(
        capsys,
        *arguments,
        "--text",
        text,
        "--profile",
        "Q8_0",
        "--slices",
        "language",
        "--no-noise",
    )
    slices = found["profiles"][0]["slices"]
    assert set(slices) == {"all", "uig", "bod", text}
    assert slices["all"]["fused"]["positions"] > slices[text]["fused"]["positions"]


def test_answers_that_are_damaged_on_the_disk_are_given_again(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    prompts, cache = tmp_path / "prompts.jsonl", tmp_path / "cache"
    prompts.write_text(json.dumps({"prompt": UYGHUR[:20]}), encoding="utf-8")
    more = ["--profile", "Q8_0", "--no-noise", "--answers", str(prompts), "-n", "4"]
    more += ["--cache", str(cache)]
    expected = document(capsys, *arguments, *more)
    files = list((cache / "answers").iterdir())
    assert len(files) == 2
    for wrong in (b"", b"[]", b"[[1, 2]]", b'{"tokens": 1}', b"[" * 100_000):
        for path in (*files, cache / "sha256.json"):
            path.write_bytes(wrong)
        assert document(capsys, *arguments, *more) == expected
    known = {str(path.resolve()): {"state": [1], "sha256": 5} for path in cache.rglob("*.gguf")}
    (cache / "sha256.json").write_text(json.dumps(known), encoding="utf-8")
    assert document(capsys, *arguments, *more) == expected


def test_a_text_is_measured_before_anything_is_made(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text("abc", encoding="utf-8")
    options = [
        *arguments[1:],
        "--text",
        str(tmp_path / "short.txt"),
        "--cache",
        str(tmp_path / "c"),
    ]
    for name, more in ("impact", ["--profile", "Q4_0"]), ("plan", ["--ram", "1GiB"]):
        code, out, err = run(capsys, name, *options, *more)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "has 3 tokens, and a window is 32" in err
    assert list((tmp_path / "c").rglob("*.gguf")) == []


def test_places_of_the_first_difference() -> None:
    base = [Answer((1, 2, 3), "a"), Answer((1, 2), "b"), Answer((5,), "c")]
    other = [Answer((1, 9, 3), "x"), Answer((1, 2, 3), "b"), Answer((5,), "c")]
    found = difference(base, other, None)
    assert (found.n, found.n_same, found.first, found.median) == (3, 1, (1, 2), 1.5)
    assert found.score is None


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--profile", "Q9"], 2, "no profile is called 'Q9'"),
        (["--profile", ","], 2, "names nothing"),
        (["--profile", "none.toml"], 1, "no such profile file"),
        (["--profile", "Q8_0", "--json", "--markdown"], 2, "either --json or --markdown"),
        (["--profile", "Q8_0", "--plot", "x.txt"], 2, "name it .png"),
        (["--profile", "Q8_0", "--weights", "1"], 1, "weights are two numbers"),
        (["--profile", "Q8_0", "--text", "no.txt"], 1, "no.txt"),
        (["--profile", "Q8_0", "--answers", "no.jsonl"], 1, "no.jsonl"),
        (["--profile", "Q8_0", "-c", "1000"], 1, "give more text, or a smaller -c"),
        (["--profile", "IQ2_M", "--no-noise"], 1, "needs an importance matrix"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    code: int,
    words: str,
) -> None:
    found, out, err = run(capsys, *arguments, *more)
    assert (found, out) == (code, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_trio_of_other_models_is_refused(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    tiny_files: dict[str, Path],
    tmp_path: Path,
) -> None:
    strange = write_tiny_model(tmp_path / "strange.gguf", merges=("a b",))
    trio = tmp_path / "other.toml"
    for large, code, words in (
        (strange, 3, "its vocabulary differs"),
        (tiny_files["cpt"], 1, "no quantization of this large"),
    ):
        files = {**tiny_files, "large": large}
        lines = "\n".join(f'{role} = "{path}"' for role, path in files.items())
        trio.write_text(f"[models]\n{lines}\n", encoding="utf-8")
        found, _, err = run(capsys, *arguments, "--profile", str(trio))
        assert found == code
        assert words in err
        assert err.count("\n") == 1


def test_exact_mode_has_no_noise(arguments: list[str]) -> None:
    done = trimix(*arguments, "--profile", "Q8_0", "--reference", "Q8_0", "--exact", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (profile,) = found["profiles"]
    assert found["noise_floor"] == profile["noise_floor"] == 0
    # What was evaluated is what is told: exact mode has caches of one type.
    assert {*profile["type_k"].values(), *profile["type_v"].values()} == {"q8_0"}


def test_speed_is_measured_in_a_process_of_its_own(arguments: list[str]) -> None:
    done = trimix(*arguments, "--profile", "Q8_0", "--no-noise", "--speed", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["profiles"][0]["cost"]["run"]
    assert run["peak_bytes"] > 1 << 20
    assert run["speed"] > 0
    assert run["batch_steps"].keys() == {"1", "4", "16"}
    assert run["batch_steps"]["1"] == 1
