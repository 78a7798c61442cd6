"""What a pull has to do: which files of which commits, made into what, and how much disk it takes.

Pure decisions on listings of repositories; nothing is fetched or written here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

from ..errors import TrimixError, UsageError
from ..gguf import NEED_IMATRIX, ModelShape
from ..quant import Profile, RoleProfile, planned_bytes
from ..store import Repository, Source, TrioSpec
from ..store.names import is_file_name
from .hub import Listing, RemoteFile

# What a conversion reads, and what tells the licence. All of it lies at the top of a repository.
_CHECKPOINT = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "chat_template.jinja", "chat_template.json", "model.safetensors.index.json",
    "model*.safetensors",
)  # fmt: skip
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_NOTICES = ("README.md", "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
# Types that the converter writes by itself: no second file is needed on the way.
DIRECT = {"F32": "f32", "F16": "f16", "BF16": "bf16", "Q8_0": "q8_0"}
# The default profile is one of these; more bits are slower, and are taken on request.
AUTOMATIC = ("laptop-16gb", "laptop-8gb", "tiny-4gb")
# The share of the memory that the weights may fill; the rest is for caches and everything else.
_FOR_WEIGHTS = 0.8
Key = tuple[str, str | None]
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")


def is_notice(path: str) -> bool:
    """Whether a file of a repository tells its licence."""
    plain = "/" not in path and not path.endswith(".gguf")
    return plain and any(fnmatch(path, pattern) for pattern in _NOTICES)


def folder_of(listing: Listing) -> str:
    """The folder of a repository at its commit, under `models/` and `downloads/`."""
    return f"{listing.name.replace('/', '--')}@{listing.commit[:12]}"


@dataclass(frozen=True)
class Step:
    """One model to have.

    Attributes:
        kind: "gguf" (ready files), "checkpoint" or "lora" (to be converted).
        listing: the repository at its commit.
        downloads: what is fetched of it, the small files first.
        stem: the model's name in its folder.
        profile: how it is quantized; None where it is taken as it is.
        intermediate: bytes of the file between conversion and quantization, about.
        result: bytes of what stays, about.
        base: of a LoRA adapter, the model that it sits on.
    """

    kind: str
    listing: Listing
    downloads: tuple[RemoteFile, ...]
    stem: str
    profile: RoleProfile | None
    intermediate: int
    result: int
    base: Step | None = None

    @property
    def folder(self) -> str:
        """Its folder under `models/` and `downloads/`."""
        return folder_of(self.listing)

    @property
    def name(self) -> str:
        """The model's name in the store."""
        return f"{self.folder}/{self.stem}"

    @property
    def ready(self) -> tuple[RemoteFile, ...]:
        """The files among `downloads` that are the model itself, in order."""
        return tuple(f for f in self.downloads if self.kind == "gguf" and f.path.endswith(".gguf"))

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the model's files in its folder; parts are named as llama.cpp expects them."""
        n = max(len(self.ready), 1)
        parts = [f"-{i:05d}-of-{n:05d}" for i in range(1, n + 1)] if n > 1 else [""]
        return tuple(f"{self.stem}{part}.gguf" for part in parts)

    @property
    def record(self) -> str:
        """The name of its record in its folder."""
        return f"{self.stem}.json"

    @property
    def notices(self) -> tuple[str, ...]:
        """Names of the files that tell the licence."""
        return tuple(f.path for f in self.downloads if is_notice(f.path))

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.downloads)

    @property
    def peak(self) -> int:
        """Most bytes on the disk while it is made, about."""
        if self.kind == "gguf":
            return self.size
        return max(self.size + (self.intermediate or self.result), self.intermediate + self.result)

    @property
    def recipe(self) -> dict[str, Any]:
        """How its files are made, for the record."""
        made_by = self.profile.as_json() if self.profile else {}
        return {"kind": self.kind, **{key: value for key, value in made_by.items() if value}}


@dataclass(frozen=True)
class Agenda:
    """Every model once, and which of them plays which role: role -> (model, adapter or None)."""

    profile: Profile
    steps: tuple[Step, ...]
    roles: Mapping[str, tuple[Step, Step | None]]

    def disk(self, done: Sequence[str] = ()) -> int:
        """Most bytes that the disk must have free, without the steps that are `done`, by name."""
        kept, most = 0, 0
        for step in self.steps:
            if step.name not in done:
                most = max(most, kept + step.peak)
                kept += step.result
        return most


@dataclass(frozen=True)
class Offer:
    """What the Hub has: (repository, revision as asked for) -> files, and sizes of checkpoints."""

    listings: Mapping[Key, Listing]
    shapes: Mapping[Key, ModelShape] = field(default_factory=dict)


def make_agenda(spec: TrioSpec, profile: Profile, offer: Offer) -> Agenda:
    """Choose the files for every role that has a source.

    Args:
        spec: the trio.
        profile: how its roles are quantized.
        offer: what its repositories hold.

    Raises:
        UsageError: the profile's type needs an importance matrix that it does not name.
        TrimixError: a repository lacks what the role needs.
    """
    roles: dict[str, tuple[Step, Step | None]] = {}
    adapters = [role for role, source in spec.sources.items() if source.lora]
    for role, source in spec.sources.items():
        if source.lora is None:
            # A base that adapters sit on is their model too.
            sharing = [role, *adapters] if role == "base" else [role]
            wanted = profile.choice(sharing)
            roles[role] = (_model(role, source, wanted, offer), None)
    for role in adapters:
        if "base" not in roles:
            raise TrimixError(f"{role}: an adapter from the Hub needs a base from the Hub")
        adapter = spec.sources[role].lora
        assert adapter is not None
        roles[role] = (roles["base"][0], _adapter(adapter, roles["base"][0], offer))
    steps = {step.name: step for pair in roles.values() for step in pair if step is not None}
    return Agenda(profile, tuple(sorted(steps.values(), key=_order)), roles)


def default_profile(
    spec: TrioSpec, memory: int, profiles: Mapping[str, Profile], offer: Offer
) -> str:
    """The first of `AUTOMATIC` whose weights leave room in `memory` bytes, or the last."""
    for name in AUTOMATIC:
        agenda = make_agenda(spec, profiles[name], offer)
        if sum(step.result for step in agenda.steps) <= _FOR_WEIGHTS * memory:
            return name
    return AUTOMATIC[-1]


def _order(step: Step) -> tuple[int, str]:
    # Small models first: what is wrong with a pull shows early. Adapters after what they sit on.
    return (1 << 60 if step.kind == "lora" else step.size, step.name)


def _model(role: str, source: Source, profile: RoleProfile, offer: Offer) -> Step:
    offered: list[str] = []
    if source.gguf is not None:
        listing = offer.listings[source.gguf.key]
        if source.gguf.file is not None:
            return _explicit(listing, source.gguf.file)
        found = ready_files(listing)
        offered = sorted(found)
        plain = profile.plain
        if plain and profile.type in found:
            return _ready(listing, found[profile.type], profile.type)
    if source.checkpoint is None:
        wanted = profile.type if profile.plain else f"a mix of {profile.type}"
        raise TrimixError(
            f"{role}: {source.gguf.name if source.gguf else ''} has no file of the type that the "
            f"profile wants ({wanted}); it has {', '.join(offered) or 'no GGUF files'}"
        )
    if profile.type in NEED_IMATRIX and profile.imatrix is None:
        raise UsageError(
            f"{role}: the type {profile.type} needs an importance matrix; the profile names none"
        )
    key = source.checkpoint.key
    return _checkpoint(offer.listings[key], offer.shapes.get(key), profile)


def _checkpoint(listing: Listing, shape: ModelShape | None, profile: RoleProfile) -> Step:
    files = _matching(listing, _CHECKPOINT)
    weights = sum(file.size for file in files if file.path.endswith(".safetensors"))
    listing.file("config.json")
    if not weights:
        pickled = any(file.path.endswith((".bin", ".pt", ".pth")) for file in listing.files)
        why = "only pickle files, which can run code and are never loaded" if pickled else "none"
        raise TrimixError(f"{listing.name}: its weights are wanted as safetensors; it has {why}")
    plain = profile.plain
    stem = profile.type if plain else f"{profile.type}-{profile.hash()[:8]}"
    result = planned_bytes(shape, profile) if shape else weights
    direct = plain and profile.type in DIRECT
    return Step(
        "checkpoint",
        listing,
        (*files, *_matching(listing, _NOTICES)),
        stem,
        profile,
        intermediate=0 if direct else weights,
        result=result,
    )


def _adapter(repository: Repository, base: Step, offer: Offer) -> Step:
    listing = offer.listings[repository.key]
    for name in _ADAPTER:
        listing.file(name)
    files = _matching(listing, _ADAPTER)
    size = sum(file.size for file in files)
    downloads = (*files, *_matching(listing, _NOTICES))
    return Step("lora", listing, downloads, "lora-F16", None, 0, size, base)


def _matching(listing: Listing, patterns: Sequence[str]) -> tuple[RemoteFile, ...]:
    """Files at the top of the repository, smallest first; weights are then last."""
    found = [
        file for file in listing.files if any(fnmatch(file.path, pattern) for pattern in patterns)
    ]
    return tuple(sorted((f for f in found if "/" not in f.path), key=lambda f: (f.size, f.path)))


def ready_files(listing: Listing) -> dict[str, tuple[RemoteFile, ...]]:
    """Type -> the GGUF file of that type, or its parts in order; whole sets only.

    The type is what the names end in: model-q4_k_m.gguf, model-fp16-00001-of-00004.gguf.
    """
    from ..gguf import TYPES

    sets: dict[str, list[RemoteFile]] = {}
    for file in listing.files:
        path = PurePosixPath(file.path)
        if path.suffix == ".gguf" and "mmproj" not in path.name.lower():
            part = _PART.fullmatch(path.stem)
            sets.setdefault(str(path.with_name(part["stem"] if part else path.stem)), []).append(
                file
            )
    endings = {name.lower(): name for name in TYPES} | {"fp16": "F16", "fp32": "F32"}
    found: dict[str, tuple[RemoteFile, ...]] = {}
    for stem, files in sorted(sets.items(), key=lambda item: (len(item[0]), item[0])):
        ending = re.split(r"[-.]", PurePosixPath(stem).name.lower())[-1]
        parts = _whole(files)
        if ending in endings and parts:
            found.setdefault(endings[ending], parts)
    return found


def _whole(files: Sequence[RemoteFile]) -> tuple[RemoteFile, ...]:
    """The parts in order, or nothing where one is missing."""
    numbers = {}
    count = 1
    for file in files:
        part = _PART.fullmatch(PurePosixPath(file.path).stem)
        numbers[int(part["number"]) if part else 1] = file
        count = int(part["count"]) if part else 1
    if sorted(numbers) != list(range(1, count + 1)):
        return ()
    return tuple(numbers[number] for number in sorted(numbers))


def _explicit(listing: Listing, path: str) -> Step:
    file = listing.file(path)
    stem = PurePosixPath(path).stem
    part = _PART.fullmatch(stem)
    if part is None:
        return _ready(listing, (file,), stem)
    prefix = str(PurePosixPath(path).with_name(part["stem"]))
    parts = _whole([f for f in listing.files if f.path.startswith(f"{prefix}-")])
    if not parts:
        raise TrimixError(f"{listing.name}: parts of {path} are missing there")
    return _ready(listing, parts, part["stem"])


def _ready(listing: Listing, files: tuple[RemoteFile, ...], stem: str) -> Step:
    if not is_file_name(stem):
        raise TrimixError(f"{listing.name}: {files[0].path} cannot be kept under its name here")
    downloads = (*_matching(listing, _NOTICES), *files)
    return Step("gguf", listing, downloads, stem, None, 0, sum(file.size for file in files))
