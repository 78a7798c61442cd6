"""One model of a pull: from the files of a repository to GGUF files in the store's folder.

Whatever is found finished is taken as it is: a source file has its name only once its hash is
right, a GGUF file only once it is complete.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import TrimixError
from ..files import read_sha256, write_json
from ..gguf import TYPES
from ..machine import find_by_hash, take_over
from ..showing import Bar, size_text
from ..store import DOWNLOADS, MODELS, FileRecord, Tell, contents, inside, read_kept
from .agenda import DIRECT, Step
from .hub import RemoteFile, download

_SOURCES = "sources.json"
# The 16 bits that a checkpoint has, or 32; so that the second file on the way loses nothing.
_OUTTYPES = {"BF16": "bf16", "F16": "f16", "F32": "f32", "F64": "f32"}
_BETWEEN = [f"between-{outtype}.gguf" for outtype in ("bf16", "f16", "f32")]


@dataclass(frozen=True)
class Place:
    """Where one model is made: its folder below `downloads/`, and that below `models/`.

    `reuse`: take files that another program of this machine has.
    """

    root: Path
    step: Step
    reuse: bool = True

    @classmethod
    def prepare(cls, root: Path, step: Step, *, reuse: bool = True) -> Place:
        """Make both folders, with what will be in them on their lists.

        Raises:
            TrimixError: a link leads out of the store.
            OSError: the system refused.
        """
        place = cls(root, step, reuse)
        fetched = [file.path for file in step.downloads if file not in step.ready]
        contents.expect(place.downloads, [*fetched, _SOURCES, *_BETWEEN])
        contents.expect(place.models, [step.record, *step.files, *step.notices])
        return place

    @property
    def downloads(self) -> Path:
        """What is fetched and not kept."""
        return inside(self.root, DOWNLOADS, self.step.folder)

    @property
    def models(self) -> Path:
        """What stays."""
        return inside(self.root, MODELS, self.step.folder)

    def downloaded(self, name: str) -> Path:
        """A file of `downloads`, which no link leads out of the store."""
        return inside(self.root, DOWNLOADS, self.step.folder, name)

    def model(self, name: str) -> Path:
        """A file of `models`, which no link leads out of the store."""
        return inside(self.root, MODELS, self.step.folder, name)


def make_model(place: Place, tell: Tell) -> tuple[list[FileRecord], list[Path]]:
    """Make one model: records of what was fetched, and the files that are now its.

    Raises:
        TrimixError: something is wrong with the sources, or they cannot be had.
        OSError: the disk is full, or another refusal of the system.
    """
    return _take(place, tell) if place.step.kind == "gguf" else _convert(place, tell)


def _take(place: Place, tell: Tell) -> tuple[list[FileRecord], list[Path]]:
    """Fetch GGUF files to where they stay."""
    step = place.step
    paths = [place.model(name) for name in step.files]
    records = [
        _fetch(place, file, path, tell) for file, path in zip(step.ready, paths, strict=True)
    ]
    _check_type(step, paths)
    for file in step.downloads:
        if file not in step.ready:
            records.append(_fetch(place, file, place.downloaded(file.path), tell))
    return records, paths


def _check_type(step: Step, paths: list[Path]) -> None:
    """Raises TrimixError where a file that was chosen by the type in its name has another."""
    from ..gguf import read_header

    kind = read_header(paths[0]).metadata.get("general.file_type")
    if step.stem in TYPES and kind is not None and kind != TYPES[step.stem]:
        for path in paths:
            path.unlink()
        raise TrimixError(
            f"{step.listing.name}: the file named as {step.stem} says of itself that it is of "
            f"another type ({kind}); name a file in the trio's TOML, or leave gguf out"
        )


def _convert(place: Place, tell: Tell) -> tuple[list[FileRecord], list[Path]]:
    step, result = place.step, place.model(place.step.files[0])
    kept = _kept_sources(place.downloaded(_SOURCES))
    between = next((p for p in map(place.downloaded, _BETWEEN) if p.is_file()), None)
    if kept is None or not (between or result.exists() or _all_there(place)):
        kept = [_fetch(place, file, place.downloaded(file.path), tell) for file in step.downloads]
        write_json([vars(record) for record in kept], place.downloaded(_SOURCES))
    # A result without a record: the pull was killed between the two.
    if not result.exists():
        if step.kind == "lora":
            _convert_adapter(place, result, tell)
        else:
            _convert_checkpoint(place, between, result, tell)
    return kept, [result]


def _kept_sources(path: Path) -> list[FileRecord] | None:
    """What an earlier try has fetched; None where that is not known."""
    with suppress(TrimixError):
        return read_kept(path, list[FileRecord], "list of files")
    return None


def _all_there(place: Place) -> bool:
    paths = [(place.downloaded(file.path), file.size) for file in place.step.downloads]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _convert_checkpoint(place: Place, between: Path | None, result: Path, tell: Tell) -> None:
    from ..convert import convert

    step, downloads = place.step, place.downloads
    assert step.profile is not None
    if not step.intermediate:
        outtype = DIRECT[step.profile.type]
        tell(f"converting {step.listing.name} to {step.profile.type}")
        with Bar("converting", "B") as progress:
            convert(downloads, result, outtype, progress=progress)
        return
    if between is None:
        outtype = _outtype(downloads)
        between = place.downloaded(f"between-{outtype}.gguf")
        tell(f"converting {step.listing.name} to {outtype.upper()}")
        with Bar("converting", "B") as progress:
            convert(downloads, between, outtype, progress=progress)
    # From here on the disk needs room for two files, not for three.
    for file in step.downloads:
        if file.path.endswith(".safetensors"):
            place.downloaded(file.path).unlink(missing_ok=True)
    tell(f"quantizing {step.listing.name} to {step.profile.type}")
    from ..convert.quantize import quantize

    with Bar("quantizing", "tensors") as progress:
        quantize(between, result, step.profile, progress=progress)


def _outtype(downloads: Path) -> str:
    """The type in which most of the checkpoint's weights are."""
    from ..convert.checkpoint import open_checkpoint

    sizes: dict[str, int] = {}
    for tensor in open_checkpoint(downloads).tensors.values():
        n_values = 1
        for size in tensor.shape:
            n_values *= size
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + n_values
    return _OUTTYPES[max(sizes, key=lambda dtype: sizes[dtype])]


def _convert_adapter(place: Place, result: Path, tell: Tell) -> None:
    from ..convert.lora import convert_lora

    step = place.step
    assert step.base is not None
    base = inside(place.root, MODELS, step.base.folder, step.base.files[0])
    tell(f"converting the adapter {step.listing.name}")
    convert_lora(place.downloads, result, base, "f16")


def _fetch(place: Place, file: RemoteFile, dst: Path, tell: Tell) -> FileRecord:
    """The record of a source file; it is downloaded unless it is there, or on this machine."""
    listing = place.step.listing
    if dst.is_file() and dst.stat().st_size == file.size:
        return FileRecord(file.path, file.size, file.sha256 or read_sha256(dst))
    if place.reuse and file.sha256 and _take_over(file, file.sha256, dst, tell):
        return FileRecord(file.path, file.size, file.sha256)
    tell(f"downloading {listing.name}/{file.path} ({size_text(file.size)})")
    with Bar(file.path[-40:], "B") as progress:
        return FileRecord(file.path, file.size, download(listing, file, dst, tell, progress))


def _take_over(file: RemoteFile, sha256: str, dst: Path, tell: Tell) -> bool:
    """Whether another program of this machine had the file, and it is at `dst` now."""
    for source, program in find_by_hash(sha256, file.size):
        tell(f"taking {file.path} from {program}: {source}")
        dst.parent.mkdir(parents=True, exist_ok=True)
        with Bar(file.path[-40:], "B") as progress:
            if take_over(source, dst, sha256, progress):
                return True
        tell(f"{source} is not what its name says")
    return False
