"""Removal of pulled trios, and of the models and downloads that no trio uses any more.

Only what the store has written down goes: the files on its lists, links as links, folders once
they are empty. What somebody else has put into the store stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import TrimixError, UsageError
from . import contents
from .manifest import Manifest, read_kept, read_manifest
from .root import DOWNLOADS, GOING, MANIFEST, MODELS, STATE, TRIO_FILES, TRIOS, Tell, inside, locked
from .trios import bundled_files, pulled_names

# How a pull names its folders: `pull.agenda.folder_of`.
_FOLDER = re.compile(r".+@[0-9a-f]{12}")
_MODELS = (".json", ".gguf", ".safetensors")


@dataclass(frozen=True)
class _Unfinished:
    """The part of an unfinished pull's state that says which folders it fills."""

    folders: tuple[str, ...] = ()


def remove(name: str, tell: Tell) -> int:
    """Remove a pulled trio, what it left unfinished, and the models that no other trio uses.

    Stopped anywhere, the same removal goes on from there. Returns the bytes that are free again.

    Raises:
        UsageError: there is no such trio in the store.
        TrimixError: another trio's manifest cannot be read, or something leads out of the store.
        OSError: the system refused to remove.
    """
    with locked(tell) as root:
        if name not in pulled_names(root):  # nor ".." and the like, which are folders too
            raise UsageError(_unknown(name))
        # One that cannot be read might name any model: told before anything goes.
        for other in pulled_names(root):
            if other != name:
                read_manifest(root / TRIOS / other / MANIFEST)
        folder = inside(root, TRIOS, name)
        adopt(root, [folder])
        mine = _folders_of(folder)
        (folder / GOING).touch()  # until all is gone, so that it can be told to go again
        contents.unlink(folder, MANIFEST, STATE)
        freed = collect(root, tell, mine)
        contents.unlink(folder, *TRIO_FILES)
        with suppress(OSError):  # something of somebody else's is in it
            folder.rmdir()
        return freed


def _unknown(name: str) -> str:
    if name in {file.stem for file in bundled_files()}:
        from .spec import load_spec

        spec = next(load_spec(file) for file in bundled_files() if file.stem == name)
        if spec.bundled:
            return f"the trio {name!r} is bundled with the program: it cannot be removed"
        return f"the trio {name!r} was not pulled: there is nothing to remove"
    return f"the trio {name!r} is not in the store; `trimix-cpp list` shows them"


def collect(root: Path, tell: Tell, replaced: Iterable[str] = ()) -> int:
    """Remove models and downloads that no trio uses; returns their bytes. Needs the lock.

    Where the state of an unfinished pull cannot be read, which might need any of them, no more
    than the folders `replaced` are looked at.

    Raises:
        TrimixError: a manifest cannot be read; it might name any model, so nothing was removed.
        OSError: the system refused to remove.
    """
    trios = [root / TRIOS / name for name in pulled_names(root)]
    adopt(root, trios)
    used: dict[str, set[str]] = {}
    for manifest in [*map(_manifest, trios), *_linked(root)]:
        for model in manifest.models if manifest else ():
            used.setdefault(model.folder, set()).update(model.contents)
    only, pinned = None, set[str]()
    for folder in trios:
        try:
            pinned |= _pins(folder)
        except TrimixError as error:
            only = set(replaced)
            tell(f"what other unfinished pulls have fetched stays: {error}")
    freed = 0
    for parent in (MODELS, DOWNLOADS):
        for name in _made(root, parent):
            if name not in pinned and (only is None or name in only):
                keep = used.get(name, set()) if parent == MODELS else set()
                freed += contents.remove(inside(root, parent, name), keep)
    return freed


def adopt(root: Path, trios: Iterable[Path]) -> None:
    """Give the models of these trios their lists, where an earlier version has left none."""
    for folder in trios:
        with suppress(TrimixError):
            manifest = _manifest(folder)
            for model in manifest.models if manifest else ():
                models = root / MODELS / model.folder
                if models.is_dir() and not models.is_symlink() and not contents.is_ours(models):
                    notices = {s.name for s in model.sources if not s.name.endswith(_MODELS)}
                    contents.expect(models, model.contents | notices)


def _manifest(folder: Path) -> Manifest | None:
    return read_manifest(folder / MANIFEST)


def _linked(root: Path) -> list[Manifest | None]:
    """Manifests of trios that the user has moved elsewhere and linked: their models are in use."""
    found = []
    for folder in (root / TRIOS).iterdir() if (root / TRIOS).is_dir() else ():
        with suppress(TrimixError):
            found.append(_manifest(folder) if folder.is_symlink() else None)
    return found


def _pins(folder: Path) -> set[str]:
    kept = read_kept(folder / STATE, _Unfinished, "state of a pull")
    return set(kept.folders) if kept else set()


def _folders_of(folder: Path) -> set[str]:
    """The folders that a trio's models and downloads are in, as far as that can be read."""
    found = set()
    with suppress(TrimixError):
        found |= _pins(folder)
    with suppress(TrimixError):
        manifest = _manifest(folder)
        found |= {model.folder for model in manifest.models} if manifest else set()
    return found


def _made(root: Path, parent: str) -> list[str]:
    """Names of the folders below `parent` that the store has made."""
    folder = root / parent
    paths = sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
    for path in paths:
        if _FOLDER.fullmatch(path.name) and not path.is_symlink():
            with suppress(OSError):  # a removal was stopped at its last step; else it is not empty
                path.rmdir()
    return [path.name for path in paths if path.is_dir() and contents.is_ours(path)]
