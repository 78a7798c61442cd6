"""The trios on this machine: those that come with the program, and those in TOML files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from .errors import TrimixError, UsageError
from .spec import TrioSpec, load_spec


def bundled_files() -> list[Path]:
    """The TOML files that come with the program, by name."""
    folder = Path(str(resources.files("trimix_cpp"))) / "trios"
    return sorted(folder.glob("*.toml"))


def find_trio(name: str) -> TrioSpec:
    """The trio called `name`, or the one in the TOML file `name`.

    Raises:
        UsageError: no trio has this name.
        TrimixError: the file is missing or broken.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.parent != Path():
        return load_spec(path)
    files = {file.stem: file for file in bundled_files()}
    if name not in files:
        raise UsageError(f"no trio is called {name!r}; there are: {', '.join(files)}")
    return load_spec(files[name])


def trio_for_language(code: str, english_name: str) -> TrioSpec:
    """The trio for a language; a real one before the bundled demo.

    Raises:
        TrimixError: there is none.
    """
    specs = [load_spec(file) for file in bundled_files()]
    fitting = sorted((s for s in specs if code in s.languages), key=lambda s: s.bundled)
    if not fitting:
        spoken = ", ".join(sorted({language for s in specs for language in s.languages}))
        raise TrimixError(
            f"no trio for {english_name} ({code}) is on this machine (there is one for {spoken}); "
            "give the models by --large, --cpt and --base, or --trio FILE.toml"
        )
    return fitting[0]
