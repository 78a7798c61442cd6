"""All roles of a trio to the types of a profile, in a folder with a trio file that is ready to use.

Stopped anywhere, a second run keeps the files that were finished: `quantized.json` says what each
was made of.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from trimix_cpp.errors import TrimixError
from trimix_cpp.files import edit_toml, read_json, real_path, replacing, write_json, write_toml
from trimix_cpp.fusion import PRECEDENCE
from trimix_cpp.gguf import TYPES, Header, read_header
from trimix_cpp.quant import Profile, RoleProfile
from trimix_cpp.showing import Bars, Progress
from trimix_cpp.store import RoleSpec, TrioSpec

from .quantize import quantize
from .space import check_space

RECORD = "quantized.json"
TRIO_FILE = "trio.toml"


@dataclass(frozen=True)
class Made:
    """One file of the folder.

    Attributes:
        roles: the roles that it serves.
        type: the type that it has.
        kept: it was finished by an earlier run.
        uncovered: matrices that a given importance matrix has no entry for.
    """

    path: Path
    roles: tuple[str, ...]
    type: str
    nbytes: int
    kept: bool = False
    uncovered: tuple[str, ...] = ()


def quantize_trio(
    spec: TrioSpec,
    profile: Profile,
    folder: Path,
    *,
    threads: int | None = None,
    force: bool = False,
    bar: Bars = lambda _name: nullcontext(),
) -> list[Made]:
    """Quantize every role of `spec` into `folder`, and write `trio.toml` there.

    Roles that share a file share the result; it gets the type of the role that bears quantization
    least. A source that has its type already is linked, or copied.

    Args:
        spec: a trio whose files are F32, F16 or BF16.
        profile: the types.
        folder: made if it is not there.
        threads: all of the machine's by default.
        force: overwrite files that were not made by an earlier run like this one.
        bar: shows the progress of a file.

    Raises:
        TrimixError: a source that is quantized otherwise, a file in the way, or no disk space.
        TrimixError: as `quantize`.
    """
    if missing := [role for role in spec.sources if role not in spec.roles]:
        raise TrimixError(
            f"{spec.name}: the model for {missing[0]} is not on this machine; pull the trio first"
        )
    groups = _groups(spec)
    for source, roles in groups.items():
        _check_source(read_header(source), profile.roles[roles[0]], roles)
    folder.mkdir(parents=True, exist_ok=True)
    record = _read_record(folder)
    made, names = [], dict[Path, str]()
    for source, roles in groups.items():
        choice = profile.roles[roles[0]]
        name = names[source] = f"{roles[0]}-{choice.type}.gguf"
        wanted = _wanted(source, choice)
        if record.get(name) == wanted and (folder / name).is_file():
            size = (folder / name).stat().st_size
            made.append(Made(folder / name, roles, choice.type, size, kept=True))
            continue
        _check_free(folder / name, force or name in record)
        # Ours from now on, but not finished.
        _note(folder, record, name, None)
        with bar(name) as progress:
            uncovered = _make(source, folder / name, choice, threads, progress)
        _note(folder, record, name, wanted)
        size = (folder / name).stat().st_size
        made.append(Made(folder / name, roles, choice.type, size, uncovered=uncovered))
    adapters = _copy_adapters(spec, folder, record, force)
    _check_free(folder / TRIO_FILE, force or TRIO_FILE in record)
    _note(folder, record, TRIO_FILE, None)
    _write_trio(spec, profile, folder, names, adapters)
    return made


def _groups(spec: TrioSpec) -> dict[Path, tuple[str, ...]]:
    """Source file -> its roles, the one that bears quantization least first."""
    groups: dict[Path, tuple[str, ...]] = {}
    for role in PRECEDENCE:
        if role in spec.roles:
            source = real_path(spec.roles[role].path)
            groups[source] = (*groups.get(source, ()), role)
    return groups


def _check_source(header: Header, choice: RoleProfile, roles: tuple[str, ...]) -> None:
    if header.is_quantized and not _is_done(header, choice):
        found = header.type_name.replace("?", "quantized otherwise")
        raise TrimixError(
            f"{header.path}: the model for {roles[0]} is {found} already, and the profile wants "
            f"{choice.type}: start from an F32, F16 or BF16 file"
        )


def _is_done(header: Header, choice: RoleProfile) -> bool:
    """Whether a file is as the profile wants it, as far as its own word goes."""
    return choice.plain and header.metadata.get("general.file_type") == TYPES[choice.type]


def _wanted(source: Path, choice: RoleProfile) -> dict[str, Any]:
    """What a file is made of; equal only where making it again would give the same."""
    status = source.stat()
    return {
        "source": str(source),
        "size": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "profile": choice.as_json(),
    }


def _make(
    source: Path,
    dst: Path,
    choice: RoleProfile,
    threads: int | None,
    progress: Progress | None,
) -> tuple[str, ...]:
    """Write one file; returns the matrices that an importance matrix does not cover."""
    if _is_done(read_header(source), choice):
        _link(source, dst)
        return ()
    done = quantize(source, dst, choice, threads=threads, force=True, progress=progress)
    return done.uncovered


def _check_free(dst: Path, allowed: bool) -> None:
    """Raises TrimixError where somebody else's file is in the way."""
    if dst.exists() and not allowed:
        raise TrimixError(f"{dst} exists already: choose another folder, or overwrite with --force")


def _note(folder: Path, record: dict[str, Any], name: str, made_of: Any) -> None:
    """Remember what a file is made of; None while it is not finished."""
    record[name] = made_of
    write_json(record, folder / RECORD)


def _link(source: Path, dst: Path) -> None:
    """One more name for a file, or a copy where the disk knows no such thing."""
    if dst.exists() and source.samefile(dst):
        return
    temporary = dst.with_name(f".{dst.name}.link.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
        os.replace(temporary, dst)
    except OSError:
        check_space(dst.parent, source.stat().st_size)
        with replacing(dst) as copy:
            shutil.copyfile(source, copy)


def _copy_adapters(
    spec: TrioSpec, folder: Path, record: dict[str, Any], force: bool
) -> dict[str, str]:
    """Role -> the name of its LoRA adapter in `folder`."""
    names = {}
    for role, role_spec in spec.roles.items():
        if role_spec.lora:
            name = names[role] = f"{role}-lora.gguf"
            _check_free(folder / name, force or name in record)
            _note(folder, record, name, None)
            _link(role_spec.lora, folder / name)
    return names


def _write_trio(
    spec: TrioSpec,
    profile: Profile,
    folder: Path,
    names: Mapping[Path, str],
    adapters: Mapping[str, str],
) -> None:
    """`trio.toml`: the trio's own file with other models; without one, what is known of it."""
    if spec.path is not None:
        document = edit_toml(spec.path)
    else:
        document = tomlkit.document()
        document["weights"] = [spec.weights.alpha, spec.weights.beta]
    document["name"] = f"{spec.name}-{profile.name}"
    document.pop("bundled", None)
    models = tomlkit.table()
    for role, role_spec in spec.roles.items():
        models[role] = _model(role_spec, names[real_path(role_spec.path)], adapters.get(role))
    document["models"] = models
    cache = tomlkit.table()
    cache["type_k"], cache["type_v"] = profile.type_k, profile.type_v
    document["cache"] = cache
    write_toml(document, folder / TRIO_FILE)


def _model(spec: RoleSpec, name: str, adapter: str | None) -> Any:
    if adapter is None:
        return name
    value = tomlkit.inline_table()
    value.update({"path": name, "lora": adapter, "scale": spec.lora_scale})
    return value


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = read_json(folder / RECORD)
    except TrimixError:
        return {}  # nothing is known to be finished
    return record if isinstance(record, dict) else {}
