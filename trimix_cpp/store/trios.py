"""The trios that are known on this machine: the program's own, TOML files, and what was pulled."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from importlib import resources
from pathlib import Path

from ..errors import TrimixError, UsageError
from ..files import is_toml_path
from .manifest import Manifest, read_manifest
from .names import is_trio_name
from .presets import with_saved
from .root import COPY, MANIFEST, MODELS, STATE, TRIO_FILES, TRIOS, home
from .spec import RoleSpec, TrioSpec, load_spec


@dataclass(frozen=True)
class KnownTrio:
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

    @property
    def missing(self) -> list[Path]:
        """Files that were pulled and are gone."""
        if self.manifest is None:
            return []
        files = [(role.path, role.lora) for role in self.spec.roles.values()]
        return [path for pair in files for path in pair if path and not path.is_file()]


def bundled_files() -> list[Path]:
    """The TOML files that come with the program, by name."""
    folder = Path(str(resources.files("trimix_cpp"))) / "trios"
    return sorted(folder.glob("*.toml"))


def trio_folder(name: str) -> Path | None:
    """Where the store keeps the manifest of the trio called `name`; None where it keeps none."""
    return home() / TRIOS / name if is_trio_name(name) else None


def pulled_names(root: Path) -> list[str]:
    """The trios in the store `root` that were pulled, or begun to be, or not wholly removed."""
    folder = root / TRIOS
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(
        name
        for name in names
        if is_trio_name(name)
        and not (folder / name).is_symlink()
        and any((folder / name / file).exists() for file in TRIO_FILES)
    )


def entries() -> list[KnownTrio]:
    """Every trio that has a name: the program's, then the user's that were pulled; best first.

    One whose manifest is broken counts as not installed: another pull mends it.
    """
    packaged = [(file.stem, file) for file in bundled_files()]
    names = {name for name, _ in packaged}
    copies = [(n, home() / TRIOS / n / COPY) for n in pulled_names(home()) if n not in names]
    found = []
    for name, file in (*packaged, *copies):
        with suppress(TrimixError):
            entry = _entry(load_spec(file))
            found += [entry] if entry.spec.name == name else []
    return sorted(found, key=lambda e: (e.spec.bundled, e.spec.rank, e.spec.name))


def _entry(spec: TrioSpec) -> KnownTrio:
    folder = trio_folder(spec.name)
    if not spec.sources or folder is None:
        return KnownTrio(spec)
    unfinished = (folder / STATE).is_file()
    manifest = None
    with suppress(TrimixError):
        manifest = read_manifest(folder / MANIFEST)
    if manifest is None or not spec.sources.keys() <= manifest.roles.keys():
        return KnownTrio(spec, None, unfinished)
    return KnownTrio(with_files(spec, manifest), manifest, unfinished)


def with_files(spec: TrioSpec, manifest: Manifest) -> TrioSpec:
    """The trio with its pulled files; KV cache types are the profile's where it names none."""
    models = {model.name: model for model in manifest.models}
    root = home() / MODELS

    def first_file(name: str) -> Path:
        model = models[name]
        return root / model.folder / model.files[0].name

    roles = dict(spec.roles)
    for role in spec.sources:
        record = manifest.roles[role]
        lora = first_file(record.lora) if record.lora else None
        roles[role] = RoleSpec(first_file(record.model), lora, record.lora_scale)
    return replace(
        spec,
        roles=roles,
        type_k={**dict.fromkeys(roles, manifest.type_k), **spec.type_k},
        type_v={**dict.fromkeys(roles, manifest.type_v), **spec.type_v},
    )


def find_entry(name: str) -> KnownTrio:
    """The trio called `name`, or the one in the TOML file `name`, pulled or not.

    Raises:
        UsageError: no trio has this name.
        TrimixError: the file is missing or broken.
    """
    if is_toml_path(name):
        spec = load_spec(Path(name))
        entry = _entry(spec)
        if entry.manifest and entry.manifest.requested != requested(spec):
            return KnownTrio(spec, None, entry.unfinished)
        return entry
    known = entries()
    for entry in known:
        if entry.spec.name == name:
            return replace(entry, spec=with_saved(entry.spec, home()))
    close = get_close_matches(name, [entry.spec.name for entry in known], cutoff=0.5)
    advice = f"did you mean {' or '.join(close)}? " if close else ""
    raise UsageError(f"no trio is called {name!r}; {advice}`trimix-cpp list` shows those there are")


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
    raise TrimixError(
        f"no trio for {english_name} ({code}) is known (`trimix-cpp list` shows for which there "
        "is one): give the models by --large, --cpt and --base, or --trio FILE.toml"
    )


def known_for_language(code: str) -> list[KnownTrio]:
    """The trios for a language, pulled or not, best first.

    Those for another variety of the name count where there are none for the code itself (`mon`,
    `khk` and `mvf` are all Mongolian): `script_notice` then tells what is different.
    """
    from ..prompts import varieties

    known = entries()
    fitting = [e for e in known if code in e.spec.languages]
    return fitting or [e for e in known if varieties(code) & set(e.spec.languages)]


def _advice(entry: KnownTrio, name: str) -> str:
    what = "finishes the pull" if entry.unfinished else "fetches it"
    title = f" ({entry.spec.description})" if entry.spec.description else ""
    return f"`trimix-cpp pull --trio {name}` {what}{title}"


def _present(entry: KnownTrio) -> KnownTrio:
    """`entry`; raises TrimixError where a file that was pulled is gone."""
    for path in entry.missing:
        raise TrimixError(
            f"{path} is gone: `trimix-cpp pull --trio {entry.spec.name}` fetches it again"
        )
    return entry
