"""The trios on this machine: those that come with the program, TOML files, and what was pulled.

The store is a folder: `models/<repository>@<commit>/` holds GGUF files, each with a record of
where it came from, and may serve several trios; `trios/<name>/` holds a trio's manifest;
`downloads/` what an unfinished pull has fetched. Readers take no lock: what they read appears
whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TrimixError, UsageError
from .manifest import Manifest, read_json, read_manifest
from .presets import with_saved
from .spec import RoleSpec, TrioSpec, load_spec

if TYPE_CHECKING:
    from ..prompts import Language

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """A trio that has a name here.

    Attributes:
        spec: with the files of its roles, where it is installed.
        manifest: None for one that was not pulled.
        unfinished: a pull of it was begun and not finished.
    """

    spec: TrioSpec
    manifest: Manifest | None = None
    unfinished: bool = False

    @property
    def installed(self) -> bool:
        """Whether it can be used now."""
        return self.manifest is not None or not self.spec.sources


def home() -> Path:
    """The store's folder: `TRIMIX_HOME`, or the platform's folder for data of a program."""
    if moved := os.environ.get("TRIMIX_HOME"):
        return Path(moved).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("trimix-cpp", appauthor=False)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, remembered as long as it has not changed; raises OSError."""
    from ..files import hashing

    return hashing.sha256(path, home() / "cache" / "sha256.json")


@contextmanager
def locked(tell: Tell) -> Iterator[Path]:
    """Hold the store for oneself, waiting for another process if need be; yields its folder.

    Raises:
        TrimixError: the folder cannot be made or written.
    """
    from filelock import FileLock, Timeout

    root = home()
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            tell(f"another process is changing {root}; waiting for it")
            lock.acquire()
    except OSError as error:
        raise TrimixError(
            f"{root}: {error.strerror or error}; TRIMIX_HOME names another folder for the store"
        ) from None
    try:
        yield root
    finally:
        lock.release()


def bundled_files() -> list[Path]:
    """The TOML files that come with the program, by name."""
    folder = Path(str(resources.files("trimix_cpp"))) / "trios"
    return sorted(folder.glob("*.toml"))


def trio_folder(name: str) -> Path:
    """Where the store keeps the manifest of the trio called `name`."""
    return home() / "trios" / name


def entries() -> list[Entry]:
    """Every trio that has a name: the program's, then the user's that were pulled; best first.

    One whose manifest is broken counts as not installed: another pull mends it.
    """
    known = {file.stem: file for file in bundled_files()}
    folder = home() / "trios"
    pulled = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    for name in pulled:
        copy = folder / name / "trio.toml"
        if name not in known and copy.is_file():
            known[name] = copy
    found = []
    for name, file in known.items():
        with suppress(TrimixError):
            found.append(_entry(load_spec(file), trio_folder(name)))
    return sorted(found, key=lambda e: (e.spec.bundled, e.spec.rank, e.spec.name))


def _entry(spec: TrioSpec, folder: Path) -> Entry:
    unfinished = (folder / "pull.json").is_file()
    if not spec.sources:
        return Entry(spec)
    try:
        manifest = read_manifest(folder / "manifest.json")
    except TrimixError:
        manifest = None
    if manifest is None:
        return Entry(spec, None, unfinished)
    return Entry(with_files(spec, manifest), manifest, unfinished)


def manifests() -> list[Manifest]:
    """The manifests of all installed trios, by name; raises TrimixError where one is broken."""
    found = (read_manifest(f / "manifest.json") for f in sorted(_folders(home() / "trios")))
    return [manifest for manifest in found if manifest is not None]


def with_files(spec: TrioSpec, manifest: Manifest) -> TrioSpec:
    """The trio with its pulled files; KV cache types are the profile's where it names none."""
    models = {model.name: model for model in manifest.models}
    root = home() / "models"

    def first_file(name: str) -> Path:
        model = models[name]
        return root / model.folder / model.files[0].name

    roles = dict(spec.roles)
    for role, record in manifest.roles.items():
        lora = first_file(record.lora) if record.lora else None
        roles[role] = RoleSpec(first_file(record.model), lora, record.lora_scale)
    return replace(
        spec,
        roles=roles,
        type_k={**dict.fromkeys(roles, manifest.type_k), **spec.type_k},
        type_v={**dict.fromkeys(roles, manifest.type_v), **spec.type_v},
    )


def names_file(name: str) -> bool:
    """Whether what `--trio` says is a TOML file of the user's, not a trio's name."""
    path = Path(name)
    return path.suffix == ".toml" or path.parent != Path()


def find_entry(name: str) -> Entry:
    """The trio called `name`, or the one in the TOML file `name`, pulled or not.

    Raises:
        UsageError: no trio has this name.
        TrimixError: the file is missing or broken.
    """
    if names_file(name):
        spec = load_spec(Path(name))
        entry = _entry(spec, trio_folder(spec.name))
        if entry.manifest and entry.manifest.requested != requested(spec):
            return Entry(spec, None, entry.unfinished)
        return entry
    known = entries()
    for entry in known:
        if entry.spec.name == name:
            return replace(entry, spec=with_saved(entry.spec, home()))
    raise UsageError(
        f"no trio is called {name!r}; there are: {', '.join(e.spec.name for e in known)}"
    )


def requested(spec: TrioSpec) -> dict[str, object]:
    """The sources of a trio as its manifest keeps them."""
    return {role: asdict(source) for role, source in spec.sources.items()}


def find_trio(name: str) -> TrioSpec:
    """The trio called `name`, or the one in the TOML file `name`, ready to be loaded.

    Raises:
        UsageError: no trio has this name.
        TrimixError: the file is missing or broken, or the trio has yet to be pulled.
    """
    entry = find_entry(name)
    if not entry.installed:
        raise TrimixError(f"the trio {entry.spec.name} is not installed: {_advice(entry, name)}")
    return _present(entry).spec


def trio_for_language(code: str, english_name: str) -> TrioSpec:
    """The installed trio for a language; the first in the order of `entries`, the demo last.

    Raises:
        TrimixError: there is none.
    """
    fitting = known_for_language(code)
    for entry in fitting:
        if entry.installed:
            return with_saved(_present(entry).spec, home())
    if fitting:
        raise TrimixError(
            f"no trio for {english_name} ({code}) is on this machine yet: "
            f"{_advice(fitting[0], fitting[0].spec.name)}"
        )
    spoken = ", ".join(sorted({language for e in entries() for language in e.spec.languages}))
    raise TrimixError(
        f"no trio for {english_name} ({code}) is on this machine (there is one for {spoken}); "
        "give the models by --large, --cpt and --base, or --trio FILE.toml"
    )


def known_for_language(code: str) -> list[Entry]:
    """The trios for a language, pulled or not, best first.

    Those for another variety of the name count where there are none for the code itself (`mon`,
    `khk` and `mvf` are all Mongolian): `script_notice` then tells what is different.
    """
    known = entries()
    fitting = [e for e in known if code in e.spec.languages]
    return fitting or [e for e in known if set(_varieties(code)) & set(e.spec.languages)]


def _varieties(code: str) -> list[str]:
    """Codes of the languages that share a name: mon, khk and mvf are all called Mongolian."""
    from ..prompts import known_languages

    table = known_languages()
    name = table[code].name if code in table else None
    return [entry.code for entry in table.values() if entry.name == name]


def script_notice(spec: TrioSpec, language: Language) -> str | None:
    """What somebody who asked for `language` must know about the text that the trio was trained on.

    None where it is in the language's usual script, or where the trio does not say.
    """
    if not spec.scripts or language.scripts[0] in spec.scripts:
        return None
    names = {"Arab": "Arabic", "Mong": "traditional Mongolian", "Cyrl": "Cyrillic", "Latn": "Latin"}
    its, usual = (names.get(script, script) for script in (spec.scripts[0], language.scripts[0]))
    return (
        f"the {language.name} of {spec.name} is in {its} script; "
        f"it has hardly seen any in {usual} script"
    )


def _advice(entry: Entry, name: str) -> str:
    what = "finishes the pull" if entry.unfinished else "fetches it"
    title = f" ({entry.spec.description})" if entry.spec.description else ""
    return f"`trimix-cpp pull --trio {name}` {what}{title}"


def _present(entry: Entry) -> Entry:
    """`entry`; raises TrimixError where a file that was pulled is gone."""
    for spec in entry.spec.roles.values() if entry.manifest else ():
        if not spec.path.is_file():
            raise TrimixError(
                f"{spec.path} is gone: `trimix-cpp pull --trio {entry.spec.name}` fetches it again"
            )
    return entry


def remove(name: str, tell: Tell) -> int:
    """Remove a pulled trio, what it left unfinished, and the models that no other trio uses.

    Returns the bytes that are free again.

    Raises:
        UsageError: there is no such trio in the store.
        TrimixError: another trio's manifest cannot be read.
    """
    with locked(tell) as root:
        folder = root / "trios" / name
        known = [path.name for path in _folders(root / "trios")]
        if name not in known:  # nor ".." and the like, which are folders too
            raise UsageError(f"the trio {name!r} is not in the store; `trimix-cpp list` shows them")
        # One that cannot be read might name any model: told before anything goes.
        for other in known:
            if other != name:
                read_manifest(root / "trios" / other / "manifest.json")
        # The manifest goes first: a trio without it is not installed, whatever else is left.
        for file in ("manifest.json", "pull.json", "trio.toml"):
            with suppress(FileNotFoundError):
                (folder / file).unlink()
        shutil.rmtree(folder, ignore_errors=True)
        return collect(root)


def collect(root: Path) -> int:
    """Remove models and downloads that no trio uses; returns their bytes. Needs the lock.

    Raises:
        TrimixError: a manifest cannot be read; it might name any model, so nothing was removed.
    """
    used: dict[str, set[str]] = {}
    pinned: set[str] = set()
    for folder in _folders(root / "trios"):
        manifest = read_manifest(folder / "manifest.json")
        for model in manifest.models if manifest else ():
            files = {f"{model.stem}.json", *(file.name for file in model.files)}
            used.setdefault(model.folder, set()).update(files)
        pinned |= set((read_json(folder / "pull.json") or {}).get("folders", ()))
    freed = 0
    for folder in _folders(root / "models"):
        if folder.name not in pinned:
            freed += _sweep(folder, keep=used.get(folder.name, set()))
    for folder in _folders(root / "downloads"):
        if folder.name not in pinned:
            freed += sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
            shutil.rmtree(folder, ignore_errors=True)
    return freed


def _sweep(folder: Path, keep: set[str]) -> int:
    """Remove the models of a folder whose files are not in `keep`; licences go with the last."""
    freed = 0
    for file in folder.iterdir():
        model = file.suffix in {".gguf", ".json", ".part", ".tmp"}
        if file.name not in keep and (model or not keep):
            freed += file.stat().st_size
            file.unlink()
    if not keep:
        folder.rmdir()
    return freed


def _folders(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
