"""Over bytes, each role reads a conversation in its own tokens and its own template."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimix_cpp.bytewise import Pruning
from trimix_cpp.chat.conversation import Conversation
from trimix_cpp.decoding import ByteTrio, Decoder, open_trio
from trimix_cpp.errors import ContextFullError, TrimixError
from trimix_cpp.fusion import EntChooser, PplChooser, Weights
from trimix_cpp.quant import Options

from ..support.different import spec_of, write_different

ALL = Weights(0.3, 0.9)
OPTIONS = Options(n_ctx=192, n_threads=1, bytes=Pruning(3))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_different(tmp_path_factory.mktemp("different"))


def test_names_mean_control_tokens_in_templates_alone(files: dict[str, Path]) -> None:
    """`<|im_end|>` is a token of base, `</s>` one of cpt; what a user types is text to both."""
    with open_trio(spec_of(files), ("large", "cpt", "base"), OPTIONS) as trio:
        assert isinstance(trio, ByteTrio)
        with Conversation(Decoder(trio), weights=ALL, max_tokens=6) as chat:
            said = "ئۇ <|im_end|></s> བོད"
            "".join(chat.send(said))
            assert chat.text is not None
            prompts = chat.text.prompts
            texts = {}
            for role, tokens in prompts.items():
                model = trio.context(role).model
                texts[role] = b"".join(model.piece(t, special=True) for t in tokens).decode()
                control = trio.speaker(role).alignment.control()
                names = [trio.speaker(role).text_of(t) for t in tokens if control[t]]
                wanted = {
                    "large": [],  # the template writes names that it has not
                    "cpt": ["<s>", "</s>"],
                    "base": ["<|im_start|>", "<|im_end|>", "<|im_start|>"],
                }
                assert names == wanted[role]
                # SentencePiece puts a space before the rest of a name that is read apart.
                assert said.replace(" ", "") in texts[role].replace(" ", "")
            assert texts["base"].startswith("<|im_start|>user\n")
            assert "[user]" in texts["cpt"]
            "".join(chat.send("and then?"))
            assert chat.text.n_cached > 0
            assert len(chat.turns) == 2


def test_weights_by_a_prompts_words_are_refused(files: dict[str, Path]) -> None:
    with open_trio(spec_of(files), ("large", "cpt", "base"), OPTIONS) as trio:
        with (
            Conversation(Decoder(trio), weights=ALL, chooser=PplChooser, max_tokens=4) as chat,
            pytest.raises(TrimixError, match="--weights ent"),
        ):
            "".join(chat.send("the thing"))
        with Conversation(Decoder(trio), weights=ALL, chooser=EntChooser, max_tokens=4) as chat:
            "".join(chat.send("the thing"))


def test_old_turns_give_way(files: dict[str, Path]) -> None:
    with (
        open_trio(spec_of(files), ("large", "cpt", "base"), OPTIONS) as trio,
        Conversation(Decoder(trio), weights=ALL, max_tokens=12) as chat,
    ):
        for _ in range(4):
            "".join(chat.send("tell more of it " * 2))
        assert chat.dropped > 0
        with pytest.raises(ContextFullError, match="too long"):
            chat.send("q" * 400)
