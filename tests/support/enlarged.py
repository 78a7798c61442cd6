"""A trio of tiny random models whose cpt has more tokens than the others."""

from __future__ import annotations

from pathlib import Path

from .tiny import MERGES, byte_alphabet, write_tiny_model

SAMPLES = ("the then", "ئۇيغۇر", "བོད་སྐད", "😀👍", "1234", "  \n\t ")


def chained(texts: tuple[str, ...], longest: int = 5) -> tuple[str, ...]:
    """Merges that put each word together from its start, up to so many bytes."""
    letters, merges = byte_alphabet(), list(MERGES)
    for word in (word for text in texts for word in text.split(" ")):
        spelled = [letters[byte] for byte in word.encode()]
        for start in range(0, len(spelled), longest):
            piece = spelled[start]
            for letter in spelled[start + 1 : start + longest]:
                merge = f"{piece} {letter}"
                merges += [merge] if merge not in merges else []
                piece += letter
    seen = dict.fromkeys(merge.replace(" ", "") for merge in merges)
    return tuple(m for m in dict.fromkeys(merges) if seen.pop(m.replace(" ", ""), 1) is None)


def write_enlarged_trio(folder: Path, enlarged: tuple[str, ...] = ("cpt",)) -> dict[str, Path]:
    """The three files, by role; `enlarged` roles have merges of `SAMPLES`."""
    return {
        role: write_tiny_model(
            folder / f"{role}.gguf",
            seed=seed,
            n_embd=32,
            n_layer=1,
            scale=0.6,
            merges=chained(SAMPLES) if role in enlarged else MERGES,
        )
        for seed, role in enumerate(("large", "cpt", "base"))
    }
