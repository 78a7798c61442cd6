"""Which models: a language, the name of a trio, its TOML file, or the files of the roles."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UsageError
from ..fusion import ROLES

if TYPE_CHECKING:
    from ..prompts import Language
    from ..store import TrioSpec

# What a user should know and no error is; the command line shows it.
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFlags:
    """What names the models; the most particular decides.

    Attributes:
        lang: a code of the language.
        trio: the name of a trio, its TOML file, or what is known of it.
        large, cpt, base, large_base: GGUF files, by role.
    """

    lang: str | None = None
    trio: str | TrioSpec | None = None
    large: Path | None = None
    cpt: Path | None = None
    base: Path | None = None
    large_base: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Role -> the file that is given for it."""
        files = {role: getattr(self, role) for role in ROLES}
        return {role: Path(path) for role, path in files.items() if path}

    @property
    def named(self) -> list[str]:
        """What is given, by attribute."""
        return [name for name in self.__dataclass_fields__ if getattr(self, name)]


class Models(NamedTuple):
    """The trio that was named, and the language if one was."""

    spec: TrioSpec
    language: Language | None


def named_models(name: str | Path | TrioSpec) -> ModelFlags:
    """What one name stands for: a trio or its TOML file, else a language.

    Raises:
        UsageError: neither a trio nor a language is called so.
    """
    from ..files import is_toml_path
    from ..prompts import language
    from ..store import TrioSpec, entries

    if isinstance(name, TrioSpec):
        return ModelFlags(trio=name)
    text = str(name)
    if isinstance(name, Path) or is_toml_path(text) or text in {e.spec.name for e in entries()}:
        return ModelFlags(trio=text)
    language(text)
    return ModelFlags(lang=text)


def find_models(flags: ModelFlags) -> Models:
    """The trio that `flags` name.

    What the user should know of it, such as the script of its texts, goes to the log as a warning.

    Raises:
        UsageError: nothing is named, or too much, or a name that nothing has.
        TrimixError: the trio's file is broken, or there is none for the language.
    """
    from ..prompts import language as find_language
    from ..prompts import script_notice
    from ..store import find_trio, spec_from_files, trio_for_language

    language = find_language(flags.lang) if flags.lang else None
    files = flags.files
    if files and flags.trio:
        raise UsageError("give either --trio or the files of the roles, not both")
    if files:
        return Models(spec_from_files(files), language)
    if isinstance(flags.trio, str):
        spec = find_trio(flags.trio)
    elif flags.trio:
        spec = flags.trio
    elif language:
        spec = trio_for_language(language.code, language.name)
    else:
        raise UsageError("name the models: --lang CODE, --trio NAME, or --large/--cpt/--base FILE")
    if language and (text := script_notice(spec.name, spec.scripts, language)):
        log.warning("%s", text)
    if language and spec.bundled and not flags.trio:
        log.warning(
            "no trio for %s is installed: the bundled demo answers, a toy trained on software "
            "strings; `trimix-cpp pull --lang %s` fetches real models",
            language.name,
            language.code,
        )
    return Models(spec, language)
