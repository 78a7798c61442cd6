"""Three tiny models of one trio whose tokenizers have nothing in common but bytes."""

from __future__ import annotations

from pathlib import Path

from trimix_cpp.store import RoleSpec, TrioSpec

from .dressed import dress
from .tiny import write_tiny_model
from .vocab_files import bpe, sentencepiece

LLAMA_CHAT = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def write_different(folder: Path) -> dict[str, Path]:
    """Byte-level BPE, SentencePiece with a dummy prefix and BOS, and BPE with other merges."""
    spm = sentencepiece().with_metadata(
        bos_token_id=1, eos_token_id=2, add_bos_token=True, add_space_prefix=True
    )
    sources = {
        "large": bpe().write(folder / "bpe.gguf"),
        "cpt": spm.write(folder / "spm.gguf"),
    }
    found = {
        role: dress(source, folder / f"{role}.gguf", seed=seed, chat_template=LLAMA_CHAT)
        for seed, (role, source) in enumerate(sources.items())
    }
    return {**found, "base": write_tiny_model(folder / "base.gguf", seed=5)}


def spec_of(files: dict[str, Path]) -> TrioSpec:
    """A trio of these files, by role."""
    return TrioSpec("different", {role: RoleSpec(path) for role, path in files.items()})
