"""One model of a pull: from the files of a repository to GGUF files in the store's folder.

Whatever is found finished is taken as it is: a source file has its name only once its hash is
right, a GGUF file only once it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import TrimixError
from ..files import read_sha256
from ..gguf import TYPES
from ..quant import RoleProfile
from ..showing import Bar, size_text
from ..store import FileRecord, read_json, write_json
from .hub import Listing, RemoteFile, download
from .plan import DIRECT, Step

Tell = Callable[[str], None]
_SOURCES = "sources.json"
# The 16 bits that a checkpoint has, or 32; so that the second file on the way loses nothing.
_OUTTYPES = {"BF16": "bf16", "F16": "f16", "F32": "f32", "F64": "f32"}


def make_model(
    step: Step, downloads: Path, models: Path, tell: Tell
) -> tuple[list[FileRecord], list[Path]]:
    """Make one model: what was fetched, and the files that now lie in the folder `models`.

    Raises:
        TrimixError: something is wrong with the sources, or they cannot be had.
        OSError: the disk is full, or another refusal of the system.
    """
    if step.kind == "gguf":
        return _take(step, downloads, models, tell)
    return _convert(step, downloads, models, tell)


def _take(
    step: Step, downloads: Path, models: Path, tell: Tell
) -> tuple[list[FileRecord], list[Path]]:
    """Fetch GGUF files to where they stay; parts are named as llama.cpp expects them."""
    ready = [file for file in step.downloads if file.path.endswith(".gguf")]
    records, paths = [], []
    for number, file in enumerate(ready, 1):
        part = f"-{number:05d}-of-{len(ready):05d}" if len(ready) > 1 else ""
        path = models / f"{step.stem}{part}.gguf"
        records.append(_fetch(step.listing, file, path, tell))
        paths.append(path)
    _check_type(step, paths)
    for file in step.downloads:
        if file not in ready:
            records.append(_fetch(step.listing, file, downloads / file.path, tell))
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


def _convert(
    step: Step, downloads: Path, models: Path, tell: Tell
) -> tuple[list[FileRecord], list[Path]]:
    result = models / f"{step.stem}.gguf"
    kept = read_json(downloads / _SOURCES)
    between = next(downloads.glob("between-*.gguf"), None)
    if kept is None or not (between or result.exists() or _all_there(step, downloads)):
        records = [_fetch(step.listing, f, downloads / f.path, tell) for f in step.downloads]
        write_json([vars(record) for record in records], downloads / _SOURCES)
    else:
        records = [FileRecord(**record) for record in kept]
    # A result without a record: the pull was killed between the two.
    if not result.exists():
        if step.kind == "lora":
            _convert_adapter(step, downloads, result, tell)
        else:
            _convert_checkpoint(step, downloads, between, result, tell)
    return records, [result]


def _all_there(step: Step, downloads: Path) -> bool:
    paths = [(downloads / file.path, file.size) for file in step.downloads]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _convert_checkpoint(
    step: Step, downloads: Path, between: Path | None, result: Path, tell: Tell
) -> None:
    from ..convert import convert

    assert step.profile is not None
    if not step.intermediate:
        outtype = DIRECT[step.profile.type]
        tell(f"converting {step.listing.name} to {step.profile.type}")
        with Bar("converting", "B") as progress:
            convert(downloads, result, outtype, progress=progress)
        return
    if between is None:
        outtype = _outtype(downloads)
        between = downloads / f"between-{outtype}.gguf"
        tell(f"converting {step.listing.name} to {outtype.upper()}")
        with Bar("converting", "B") as progress:
            convert(downloads, between, outtype, progress=progress)
    # From here on the disk needs room for two files, not for three.
    for shard in downloads.glob("*.safetensors"):
        shard.unlink()
    tell(f"quantizing {step.listing.name} to {step.profile.type}")
    quantize_role(between, result, step.profile)


def quantize_role(src: Path, dst: Path, profile: RoleProfile) -> None:
    """Quantize one file as a profile says; raises as `convert.quantize.quantize`."""
    from ..convert.quantize import quantize

    with Bar("quantizing", "tensors") as progress:
        quantize(src, dst, profile, progress=progress)


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


def _convert_adapter(step: Step, downloads: Path, result: Path, tell: Tell) -> None:
    from ..convert.lora import convert_lora

    assert step.base is not None
    base = sorted((result.parent.parent / step.base.folder).glob(f"{step.base.stem}*.gguf"))[0]
    tell(f"converting the adapter {step.listing.name}")
    convert_lora(downloads, result, base, "f16")


def _fetch(listing: Listing, file: RemoteFile, dst: Path, tell: Tell) -> FileRecord:
    """The record of a source file; it is downloaded unless it is there."""
    if dst.is_file() and dst.stat().st_size == file.size:
        return FileRecord(file.path, file.size, file.sha256 or read_sha256(dst))
    tell(f"downloading {listing.name}/{file.path} ({size_text(file.size)})")
    with Bar(file.path[-40:], "B") as progress:
        return FileRecord(file.path, file.size, download(listing, file, dst, tell, progress))
