"""Which files are translated, and where each translation goes: patterns, folders, templates."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..documents import FORMATS
from ..errors import TrimixError, UsageError
from ..files import real_path

# What a template of output names may hold.
FIELDS = ("path", "folder", "name", "stem", "ext", "lang")
_FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")


@dataclass(frozen=True)
class Source:
    """A file that is translated.

    Attributes:
        path: where it is.
        below: its path as a template's `{path}` has it: as it was named, or below the folder that
            was; None where that leads out of the current folder.
    """

    path: Path
    below: Path | None


def is_template(text: str) -> bool:
    """Whether a name has a field, and so stands for as many names as there are files."""
    return any(name in FIELDS for name in _FIELD.findall(text))


def sources(named: Sequence[Path], format: str | None) -> list[Source]:
    """The files that are named, each once: a pattern's and a folder's in their alphabetical order.

    A pattern counts where no file has its name; a shell has often replaced it already. Of a folder
    come those files, at any depth, whose ending a format has (`format`, if it is given), without
    hidden ones; links to folders are not followed.

    Raises:
        TrimixError: a pattern or a folder has no file.
        OSError: a folder cannot be read.
    """
    found: dict[Path, Source] = {}
    for path in named:
        for source in _expanded(path, format):
            found.setdefault(real_path(source.path), source)
    return list(found.values())


def _expanded(path: Path, format: str | None) -> Iterator[Source]:
    if path.is_dir():
        inside = sorted(_below(path, format))
        if not inside:
            raise TrimixError(f"{path}: no file in this folder has the ending of a known format")
        yield from (Source(path / each, each) for each in inside)
    elif glob.has_magic(str(path)) and not os.path.lexists(path):
        names = sorted(glob.glob(str(path), recursive=True))
        files = [Path(name) for name in names if not os.path.isdir(name)]
        if not files:
            raise TrimixError(f"{path}: no file has a name like this")
        yield from (Source(each, _within(each)) for each in files)
    else:
        yield Source(path, _within(path))


def _below(folder: Path, format: str | None) -> Iterator[Path]:
    chosen = [FORMATS[format]] if format else list(FORMATS.values())
    endings = {ending for each in chosen for ending in each.extensions}

    def fail(error: OSError) -> None:
        raise error

    for top, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in endings:
                yield Path(top, name).relative_to(folder)


def _within(path: Path) -> Path | None:
    """`path` from the current folder, as it is spelled; None where it leads out of it."""
    if path.is_absolute():
        try:
            path = path.relative_to(Path.cwd())
        except ValueError:
            return None
    return None if ".." in path.parts else path


def output_of(template: str, source: Source, lang: str) -> Path:
    """Where the translation of a file goes, as a template says.

    `{path}` is the file's path as it was named, or below the folder that was; `{folder}` its
    folder there; `{name}`, `{stem}` and `{ext}` its name, without and with its ending; `{lang}`
    the target language as `--to` has it.

    Raises:
        UsageError: the template has another field, or the file lies elsewhere.
    """
    below = source.below
    if "\0" in template:
        raise UsageError(f"{template!r} cannot be a file's name")

    def value(match: re.Match[str]) -> str:
        field = match[1]
        if field not in FIELDS:
            raise UsageError(
                f"{template}: there is no {{{field}}}; fields are "
                f"{' '.join(f'{{{each}}}' for each in FIELDS)}"
            )
        if field in ("path", "folder") and below is None:
            raise UsageError(
                f"{source.path}: is not below the current folder, so {{{field}}} would lead "
                f"elsewhere; use {{name}}, or name its folder"
            )
        if field == "lang":
            return re.sub(r"[^\w.@+-]", "_", lang)
        path = below or source.path
        parts = {"path": str(path), "folder": str(path.parent), "name": path.name,
                 "stem": path.stem, "ext": path.suffix}  # fmt: skip
        return parts[field]

    return Path(os.path.normpath(_FIELD.sub(value, template)))


def paired(found: Sequence[Source], outputs: Sequence[Path]) -> tuple[list[int], list[str]]:
    """Which of the files are translated, and what is to be told of the others, a line each.

    What an earlier run has written is no source, though a pattern or a folder may have it.

    Raises:
        UsageError: two translations would go into one file, or one over its source.
    """
    real = [real_path(source.path) for source in found]
    goals = [real_path(output) for output in outputs]
    makers = dict(zip(goals, found, strict=True))
    kept: list[int] = []
    told: list[str] = []
    taken: dict[str, Path] = {}
    for i, (source, output) in enumerate(zip(found, outputs, strict=True)):
        if goals[i] == real[i]:
            raise UsageError(f"{output}: is the input; let --into name another file")
        if (maker := makers.get(real[i])) is not None:
            told.append(f"{source.path}: is where {maker.path} goes; left out")
            continue
        first = taken.setdefault(os.path.normcase(goals[i]), source.path)
        if first != source.path:
            raise UsageError(
                f"{output}: {first} and {source.path} would both go there; use {{path}} or {{ext}}"
            )
        kept.append(i)
    return kept, told


def make_folders(output: Path) -> list[Path]:
    """Make the folders that `output` lacks; returns them, the innermost first.

    Raises:
        OSError: the system refused.
    """
    missing = [folder for folder in output.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
    return missing
