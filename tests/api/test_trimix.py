"""`trimix_cpp.load`: the same texts as the commands and the rooms below give, and its errors."""

from __future__ import annotations

import gc
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import trimix_cpp
from trimix_cpp import TriMix, TrioSpec, UsageError, Weights
from trimix_cpp.decoding import Decoder, Trio

from ..support.cli import trimix

PROMPT = "Please translate the following English text into Uyghur.\nEnglish: Open\nUyghur: "


@pytest.fixture(scope="module")
def demo() -> Iterator[TriMix]:
    with trimix_cpp.load("demo", n_ctx=512, n_threads=1, n_parallel=3) as trio:
        yield trio


def test_importing_is_quick_and_brings_neither_llama_cpp_nor_numpy() -> None:
    code = (
        "import sys, time; began = time.process_time(); import trimix_cpp; "
        "trimix_cpp.TrimixError; "
        "print(time.process_time() - began, sorted({'numpy', 'llama_cpp', 'click', 'jinja2', "
        "'gguf'} & set(sys.modules)))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    seconds, heavy = min(run.stdout.split(" ", 1) for run in runs)
    assert heavy == "[]\n"
    assert float(seconds) < 0.05


def test_every_name_that_is_offered_is_there() -> None:
    assert set(trimix_cpp.__all__) <= set(dir(trimix_cpp))
    for name in trimix_cpp.__all__:
        assert getattr(trimix_cpp, name) is not None


def test_generate_is_the_command(demo: TriMix) -> None:
    done = trimix(
        "generate", "--trio", "demo", "-p", PROMPT, "-n", "12", "-t", "1", "-c", "512", "--json"
    )
    report = json.loads(done.stdout)
    found = demo.generate(PROMPT, max_tokens=12)
    assert str(found) == found.text == report["text"]
    assert [*found.token_ids] == report["token_ids"]
    assert len(found.token_ids) == report["tokens"]
    assert (found.stop, found.prompt_tokens) == (report["stop"], report["prompt_tokens"])
    assert found.weights.as_json() == report["weights"]
    assert set(found.timings) | {"load_seconds"} == set(report["timings"])
    ends = demo.trio.alignment.ends()
    said = [token for token in found.token_ids if token not in ends]
    assert b"".join(map(demo.trio.piece, said)).decode() == found.text


def test_a_stream_is_the_text_in_pieces_and_lets_go_when_it_is_left(demo: TriMix) -> None:
    whole = demo.generate(PROMPT, max_tokens=12)
    stream = demo.stream(PROMPT, max_tokens=12)
    assert "".join(stream) == whole.text
    assert stream.result.token_ids == whole.token_ids
    for _ in range(5):  # more often than there are places
        left = demo.stream(PROMPT, max_tokens=12)
        next(left)
        assert left.result.stop == "cancelled"
        del left
        gc.collect()
    assert demo.generate(PROMPT, max_tokens=12).text == whole.text


def test_what_one_text_asks_for_holds_for_that_text_alone(demo: TriMix) -> None:
    before = demo.generate(PROMPT, max_tokens=12)
    large = demo.generate(PROMPT, max_tokens=12, weights="1,0")
    assert large.weights == Weights(1, 0)
    assert demo.generate(PROMPT, max_tokens=12, weights=Weights(1, 0)).text == large.text
    chosen = demo.generate(PROMPT, max_tokens=12, weights="ppl").weights
    assert demo.generate(PROMPT, max_tokens=12, weights=chosen).weights == chosen
    assert demo.generate(PROMPT, max_tokens=1).stop == "length"
    first = before.text[:1]
    assert demo.generate(PROMPT, stops=first).text == ""
    assert demo.generate(PROMPT, stops=[first]).stop == "stop"
    # The demo is sure of a single word: only with all tokens left in do draws differ.
    hot = {"temperature": 5.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "max_tokens": 12}
    drawn = [demo.generate(PROMPT, seed=seed, **hot) for seed in (1, 1, 2)]
    assert drawn[0].text == drawn[1].text != drawn[2].text
    unseeded = {demo.generate(PROMPT, temperature=1.5, max_tokens=12).seed for _ in range(3)}
    assert len(unseeded) == 3
    after = demo.generate(PROMPT, max_tokens=12)
    assert (after.text, after.weights) == (before.text, before.weights)


def test_a_chat_beside_texts_and_another_chat(demo: TriMix, tmp_path: Path) -> None:
    with demo.chat(max_tokens=12) as one, demo.chat(system="s", max_tokens=12) as two:
        first = one.send("Open file")
        assert one.turns[0].reply == first.text
        between = demo.generate(PROMPT, max_tokens=12)
        streamed = "".join(two.stream("Open file"))
        second = one.send("Close")
        assert [turn.user for turn in one.turns] == ["Open file", "Close"]
        assert two.turns[0].reply == streamed
        one.save(tmp_path / "chat.json")
        two.load(tmp_path / "chat.json")
        assert two.turns == one.turns
        assert two.regenerate().text == second.text
        one.clear()
        assert one.send("Open file").text == first.text
    assert demo.generate(PROMPT, max_tokens=12).text == between.text


def test_memories_and_glossaries_help_as_they_help_the_command(
    demo: TriMix, tmp_path: Path
) -> None:
    memory, glossary = tmp_path / "m.tsv", tmp_path / "g.tsv"
    memory.write_text("Open the file\tئەسلىدىكى تەرجىمە\n", encoding="utf-8")
    glossary.write_text("paste\tx y z\n", encoding="utf-8")
    texts = ["Open the file", "Paste"]
    found = demo.translate(
        texts, source="eng", target="uig", memory=[memory], glossary=str(glossary), context=True,
    )  # fmt: skip
    assert (found[0], found[0].flags) == ("ئەسلىدىكى تەرجىمە", ())
    assert "has not the term x y z (paste)" in found[1].flags
    broken = memory.rename(tmp_path / "m.mo")
    with pytest.raises(UsageError, match="ending"):
        demo.translate(texts, source="eng", target="uig", memory=broken)


def test_translate_is_the_command(demo: TriMix, tmp_path: Path) -> None:
    texts = ["Open file", "", "Save %s", "Close\nPrint"]
    source = tmp_path / "in.txt"
    source.write_text("\n".join(texts) + "\n", encoding="utf-8")
    done = trimix("translate", str(source), "-o", "-", "--from", "eng", "--to", "uig",
                  "--trio", "demo", "-t", "1", "-c", "512", "-q")  # fmt: skip
    found = demo.translate(texts, source="eng", target="ug")
    assert done.stdout == "\n".join(found) + "\n"
    assert found[1] == ""
    assert all(isinstance(text, str) for text in found)
    assert pickle.loads(pickle.dumps(found[2])).flags == found[2].flags
    many = " ".join(f"%{number}$s" for number in range(1, 9))  # more than a toy carries over
    long = demo.translate(["word " * 2000 + many], source="eng", target="uig", weights="0,1")[0]
    assert long.flags


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "name the models"),
        ({"trio": "nobody"}, "nobody"),
        ({"trio": "demo", "large": "x.gguf"}, "not both"),
        ({"trio": "demo", "n_ctx": -1}, "n_ctx"),
        ({"trio": "demo", "n_threads": 100_000}, "n_threads"),
        ({"trio": "demo", "n_parallel": 0}, "n_parallel"),
        ({"trio": "demo", "n_batch": 10**30}, "n_batch"),
        ({"trio": "demo", "n_gpu_layers": {"judge": 1}}, "judge"),
        ({"trio": "demo", "n_gpu_layers": 10**400}, "-ngl"),
        ({"trio": "demo", "type_k": "q9"}, "q9"),
        ({"trio": "demo", "weights": "much"}, "alpha,beta"),
        ({"trio": "demo", "method": "magic"}, "magic"),
        ({"trio": "demo", "draft": 99}, "--draft"),
    ],
)
def test_what_means_nothing_is_a_usage_error(arguments: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        trimix_cpp.load(**arguments)  # type: ignore[arg-type]


def test_errors_leave_the_trio_usable(demo: TriMix) -> None:
    with pytest.raises(trimix_cpp.ContextFullError):
        demo.generate("ئا " * 2000)
    with pytest.raises(trimix_cpp.TrimixError, match="empty"):
        demo.generate("")
    with pytest.raises(UsageError):
        demo.generate(PROMPT, max_tokens=0)
    with pytest.raises(UsageError):
        demo.generate(PROMPT, temperature=-1)
    with pytest.raises(TypeError):
        demo.generate(PROMPT, speed=3)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="list"):
        demo.translate("Open", source="eng", target="uig")
    with pytest.raises(UsageError, match="Uyghur"):
        demo.translate(["Open"], source="ug", target="uig")
    assert demo.generate(PROMPT, max_tokens=3).token_ids


def test_a_spec_and_files_load_too(
    tiny_spec: TrioSpec, tiny_files: dict[str, Path], tiny_trio: Trio
) -> None:
    from trimix_cpp.decoding import Text

    text = Text(tiny_trio.tokenize("the"), Weights(0.3, 0.9), max_tokens=4)
    expected = next(Decoder(tiny_trio).run([text])).generated
    with trimix_cpp.load(tiny_spec, weights="0.3,0.9", n_ctx=512, n_threads=1) as one:
        assert [*one.generate("the", max_tokens=4).token_ids] == expected
    with trimix_cpp.load(**tiny_files, weights="0.3,0.9", n_ctx=512, n_threads=1) as two:  # type: ignore[arg-type]
        assert [*two.generate("the", max_tokens=4).token_ids] == expected
        two.close()
    with trimix_cpp.load(large_base=tiny_files["large"], n_ctx=512, n_threads=1) as alone:
        assert alone.trio.roles == ("large_base",)
        assert alone.generate("the", max_tokens=4).token_ids


def test_scores_are_log_softmax_of_the_fused_rows_and_greedy_is_what_generate_says(
    demo: TriMix,
) -> None:
    # Its continuation has one way to be tokenized; after a space that stands alone it would not.
    context = "The file could not be"
    said = demo.generate(context, max_tokens=12, stops="\n")
    for weights in ("preset", "1,0", "0,1", "0.3,0.9"):
        one = demo.score(context, said.text, weights=weights)
        whole = demo.tokenize(context + said.text)
        rows = demo.logits(context + said.text, weights=weights).astype(np.float64)
        assert rows.shape == (len(whole), demo.n_tokens)
        rows -= rows.max(1, keepdims=True)
        n = len(one.token_ids)
        assert [*one.token_ids] == whole[-n:]
        norm = np.log(np.exp(rows[-n - 1 : -1]).sum(1))
        expected = rows[np.arange(len(whole) - n - 1, len(whole) - 1), whole[-n:]] - norm
        np.testing.assert_allclose(one.logprobs, expected, atol=0.05)  # batches round
        assert float(one) == one.logprob == sum(one.logprobs) < 0
        likeliest = rows[-n - 1 : -1].argmax(1)
        assert one.greedy == (likeliest.tolist() == whole[-n:])
    assert demo.score(context, said.text).greedy
    assert not demo.score(context, "zzzz").greedy
    assert demo.score(context, "").token_ids == ()


def test_the_rows_of_one_role_are_llama_cpps_own(tiny_spec: TrioSpec, tiny_trio: Trio) -> None:
    tokens = tiny_trio.tokenize("the other")
    with trimix_cpp.load(tiny_spec, weights="1,0", n_ctx=512, n_threads=1) as trio:
        rows = trio.logits("the other")
        again = trio.logits("the other")
        pair = trio.logits("the other", weights="0.5,0.5")
        cpt = trio.logits("the other", weights="0,1")
    context = tiny_trio.context("large")
    for at, token in enumerate(tokens):
        own = tiny_trio.alignment.id_in_role("large", token)
        context.step(own, at, 0)
        np.testing.assert_allclose(context.logits()[0][: tiny_trio.n_tokens], rows[at], atol=1e-4)
    assert np.array_equal(rows, again)
    np.testing.assert_allclose(pair, 0.5 * rows + 0.5 * cpt, atol=1e-5)


def test_what_is_only_looked_at_needs_fixed_weights_and_something_before_it(
    demo: TriMix,
) -> None:
    with pytest.raises(UsageError, match="fixed"):
        demo.score(PROMPT, "a", weights="ppl")
    with pytest.raises(UsageError, match="fixed"):
        demo.logits(PROMPT, weights="ent")
    with pytest.raises(UsageError, match="context"):
        demo.score("", "a")
    with pytest.raises(trimix_cpp.ContextFullError):
        demo.logits("ئا " * 2000)
    with pytest.raises(trimix_cpp.ContextFullError):
        demo.score("ئا " * 2000, "a")
