"""From repositories on the Hub to a trio on this machine: download, convert, quantize, write down.

Every step leaves something whole behind or nothing: a downloaded file has its name once its hash
is right, a model once it is complete, a record once the model is there, and the manifest comes
last. So a pull that was killed anywhere goes on when it is asked for again. What the repositories
held when it began is kept in `pull.json` until it is done: a new commit in between changes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AlignmentError, TrimixError, UsageError
from ..files import is_toml_path, read_sha256
from ..gguf import ModelShape, shape_of_config
from ..showing import size_text
from ..store import (
    COPY,
    DOWNLOADS,
    MANIFEST,
    MODELS,
    STATE,
    TRIOS,
    FileRecord,
    Manifest,
    ModelRecord,
    ProfileRecord,
    Repository,
    RoleRecord,
    Tell,
    bundled_files,
    collect,
    contents,
    inside,
    locked,
    requested,
)
from ..store import manifest as records
from ..store.names import is_trio_name
from .agenda import AUTOMATIC, Agenda, Key, Offer, Step, default_profile, folder_of, make_agenda
from .hub import Listing, download, list_repository
from .making import Place, make_model
from .state import (
    Configurations,
    Listings,
    State,
    copy_spec,
    installed_commits,
    read_state,
    write_state,
)

if TYPE_CHECKING:
    from ..store import TrioSpec

# Tokens of the context in estimates: the default of the commands that decode.
_N_CTX = 4096
_MOST_OF_A_CONFIG = 1 << 24


def pull(
    spec: TrioSpec,
    tell: Tell,
    *,
    profile_name: str | None = None,
    update: bool = False,
    dry_run: bool = False,
    reuse: bool = True,
) -> Manifest | None:
    """Fetch the models of a trio into the store; returns its manifest, or None for a dry run.

    Args:
        spec: the trio; roles that are files already stay as they are.
        tell: gets lines about what happens.
        profile_name: a quantization profile, by name or TOML; None goes on with that of an
            unfinished or finished pull, or else takes one that suits this machine's memory.
        update: ask for newer commits of what is installed.
        dry_run: only tell what would be done.
        reuse: take files that another program of this machine has, by their hashes.

    Raises:
        AlignmentError: everything is there, but these models may not be fused.
        TrimixError: in one line, whatever stands in the way; what is done is kept.
    """
    if not spec.sources:
        raise UsageError(f"the trio {spec.name} has no models on the Hub: there is nothing to pull")
    if not is_trio_name(spec.name):
        raise TrimixError(f"{spec.name!r} cannot name a folder: give the trio a plainer name")
    packaged = bundled_files()
    if spec.path not in packaged and spec.name in {file.stem for file in packaged}:
        raise UsageError(f"{spec.name} is the name of a known trio: give {spec.path} another")
    with locked(tell) as root:
        try:
            return _Pull(root, spec, tell, reuse).run(profile_name, update, dry_run)
        except OSError as error:
            raise TrimixError(
                f"{error.filename or root}: {error.strerror or error}; what is done is kept, "
                "the same command goes on from there"
            ) from error


class _Pull:
    """One pull, with the lock on the store."""

    def __init__(self, root: Path, spec: TrioSpec, tell: Tell, reuse: bool) -> None:
        self.root, self.spec, self.tell, self.reuse = root, spec, tell, reuse

    def run(self, profile_name: str | None, update: bool, dry_run: bool) -> Manifest | None:
        from ..quant import load_profile

        before = None
        with suppress(TrimixError):  # a broken one is replaced
            before = records.read_manifest(self._kept(MANIFEST))
        begun = State() if update else self._begun()
        name = _absolute(profile_name) if profile_name else begun.profile
        if name is None and before is not None:
            name = before.profile.source
        if (
            before is not None
            and not update
            and not begun.listings
            and self._is_there(before, name)
        ):
            self.tell(f"{self.spec.name} is installed already (profile {before.profile.name})")
            return before
        listings = self._list(update, begun.listings)
        configs = self._configurations(listings, begun.configs)
        offer = Offer(listings, _shapes(configs))
        if name is None:
            name = self._profile_for_this_machine(offer)
        agenda = make_agenda(self.spec, load_profile(name), offer)
        done = [step.name for step in agenda.steps if self._finished(step)]
        self._tell_agenda(agenda, done)
        self._tell_memory(agenda, offer)
        if dry_run:
            return None
        _check_architectures(agenda, listings, configs)
        self._check_disk(agenda, done)
        self._kept(STATE).parent.mkdir(parents=True, exist_ok=True)
        write_state(self._kept(STATE), name, listings, configs, agenda)
        copy_spec(self.spec, self._kept(COPY))
        made = {step.name: self._finished(step) or self._make(step) for step in agenda.steps}
        return self._install(agenda, name, made, before)

    def _kept(self, name: str) -> Path:
        """A file of the trio's folder."""
        return inside(self.root, TRIOS, self.spec.name, name)

    def _begun(self) -> State:
        """What an unfinished pull goes by; nothing where that cannot be read."""
        try:
            return read_state(self._kept(STATE))
        except TrimixError as error:
            self.tell(f"beginning anew: {error}")
            return State()

    def _is_there(self, manifest: Manifest, profile_name: str | None) -> bool:
        from ..quant import load_profile

        same = profile_name and load_profile(profile_name).hash() == manifest.profile.hash
        whole = all(_is_whole(self.root, model) for model in manifest.models)
        return bool(same) and whole and manifest.requested == requested(self.spec)

    def _list(self, update: bool, begun: Listings) -> Listings:
        """What the repositories hold: at the commits of the pull that was begun, else of trios
        that have them already.
        """  # noqa: D205
        pins = {} if update else installed_commits(self.root)
        listings: Listings = {}
        wanted = {r for source in self.spec.sources.values() for r in source.repositories}
        for repository in sorted(wanted, key=lambda r: (r.name, r.revision or "")):
            if repository.key in begun:
                listings[repository.key] = begun[repository.key]
            else:
                commit = pins.get(repository.key, repository.revision)
                pinned = Repository(repository.name, commit)
                listings[repository.key] = list_repository(pinned, self.tell)
        return listings

    def _configurations(self, listings: Listings, kept: Configurations) -> Configurations:
        """The config.json of every checkpoint: no access to one shows before anything large."""
        configs: Configurations = {}
        for source in self.spec.sources.values():
            key = source.checkpoint.key if source.checkpoint else None
            if key is None or key in configs:
                continue
            configs[key] = kept[key] if key in kept else self._configuration(listings[key])
        return configs

    def _configuration(self, listing: Listing) -> dict[str, Any]:
        file = listing.file("config.json")
        if file.size > _MOST_OF_A_CONFIG:
            raise TrimixError(
                f"{listing.name}: its config.json has {size_text(file.size)} and cannot be one"
            )
        folder = inside(self.root, DOWNLOADS, folder_of(listing))
        contents.expect(folder, ["config.json"])
        path = inside(self.root, DOWNLOADS, folder_of(listing), "config.json")
        if not path.exists():
            download(listing, file, path, self.tell)
        from ..convert.checkpoint import read_json

        return read_json(path)

    def _profile_for_this_machine(self, offer: Offer) -> str:
        from ..quant import load_profile, total_memory

        total = total_memory()
        profiles = {name: load_profile(name) for name in AUTOMATIC}
        name = default_profile(self.spec, total, profiles, offer)
        self.tell(
            f"profile {name}, for this machine has {size_text(total)} of memory "
            f"({profiles[name].description}); --profile takes another"
        )
        return name

    def _tell_agenda(self, agenda: Agenda, done: list[str]) -> None:
        for step in agenda.steps:
            what = {"gguf": "as it is", "lora": "converted"}.get(step.kind)
            what = what or f"converted to {step.profile.type if step.profile else ''}"
            todo = "is here already" if step.name in done else f"{size_text(step.size)} to download"
            commit = step.listing.commit[:12]
            self.tell(f"{step.listing.name} at {commit}: {todo}, {what}, {size_text(step.result)}")

    def _tell_memory(self, agenda: Agenda, offer: Offer) -> None:
        from ..quant import Options, estimate

        shapes = {}
        for role, source in self.spec.sources.items():
            checkpoint = (self.spec.sources["base"] if source.lora else source).checkpoint
            if checkpoint is not None and checkpoint.key in offer.shapes:
                shapes[role] = offer.shapes[checkpoint.key]
        if set(shapes) == set(self.spec.sources):
            needs = estimate(shapes, Options(n_ctx=_N_CTX), profile=agenda.profile)
            self.tell(
                f"all roles need about {size_text(needs.total)} of memory for {_N_CTX} tokens, "
                f"{size_text(needs.weights)} of it for weights"
            )

    def _check_disk(self, agenda: Agenda, done: list[str]) -> None:
        """Raises TrimixError where the disk is too small for what comes."""
        here = 0
        for folder in {step.folder for step in agenda.steps if step.name not in done}:
            here += _bytes_of(inside(self.root, DOWNLOADS, folder), "*")
            here += _bytes_of(inside(self.root, MODELS, folder), "*.part")
        needed = max(agenda.disk(done) - here, 0)
        free = shutil.disk_usage(self.root).free
        if needed > free:
            raise TrimixError(
                f"{self.root}: this pull needs about {size_text(needed)} of disk on the way, and "
                f"{size_text(free)} are free; make room, or name another folder by TRIMIX_HOME"
            )
        if needed:
            self.tell(f"at most about {size_text(needed)} of disk are needed on the way")

    def _finished(self, step: Step) -> ModelRecord | None:
        """The record of a step's model, if the model is whole."""
        record = None
        with suppress(TrimixError):
            record = records.read_record(inside(self.root, MODELS, step.folder, step.record))
        mine = record is not None and (record.name, record.repository) == (
            step.name, step.listing.name,
        )  # fmt: skip
        return record if record and mine and _is_whole(self.root, record) else None

    def _make(self, step: Step) -> ModelRecord:
        place = Place.prepare(self.root, step, reuse=self.reuse)
        for folder in (place.downloads, place.models):
            contents.remove_unfinished(folder)
        sources, files = make_model(place, self.tell)
        notices = [name for name in step.notices if place.downloaded(name).is_file()]
        record = ModelRecord(
            folder=step.folder,
            stem=step.stem,
            repository=step.listing.name,
            revision=step.listing.commit,
            recipe=step.recipe,
            sources=tuple(sources),
            files=tuple(FileRecord(f.name, f.stat().st_size, read_sha256(f)) for f in files),
            tools=records.tool_versions(),
            date=records.now(),
            notices=step.notices,
        )
        for name in notices:
            os.replace(place.downloaded(name), place.models / name)
        records.write(record, place.model(step.record))
        contents.remove(place.downloads)
        return record

    def _install(
        self,
        agenda: Agenda,
        profile: str,
        made: Mapping[str, ModelRecord],
        before: Manifest | None,
    ) -> Manifest:
        manifest = Manifest(
            name=self.spec.name,
            requested=requested(self.spec),
            profile=ProfileRecord(agenda.profile.name, agenda.profile.hash(), profile),
            type_k=agenda.profile.type_k,
            type_v=agenda.profile.type_v,
            roles={
                role: RoleRecord(
                    model.name,
                    adapter.name if adapter else None,
                    self.spec.sources[role].lora_scale,
                )
                for role, (model, adapter) in agenda.roles.items()
            },
            models=tuple(made.values()),
            tools=records.tool_versions(),
            date=records.now(),
        )
        records.write(manifest, self._kept(MANIFEST))
        self._kept(STATE).unlink()
        replaced = {model.folder for model in before.models} if before else set[str]()
        try:
            if freed := collect(self.root, self.tell, replaced):
                self.tell(f"removed what no trio uses any more: {size_text(freed)}")
        except TrimixError as error:  # of another trio: this one is installed all the same
            self.tell(f"what no trio uses any more is kept: {error}")
        return manifest


def check_alignment(spec: TrioSpec) -> None:
    """Raises AlignmentError where the models that were pulled may not be fused."""
    from ..alignment import report_for

    report = report_for({role: files.path for role, files in spec.roles.items()})
    if not report.fusible:
        raise AlignmentError(
            f"{spec.name} is installed, but its models may not be fused: {report.lines()[-1]} "
            f"(`trimix-cpp check --trio {spec.name}` tells more)"
        )


def _shapes(configs: Configurations) -> dict[Key, ModelShape]:
    """Sizes of the models; those of an unknown kind are left out."""
    shapes = {}
    for key, config in configs.items():
        with suppress(TrimixError):
            shapes[key] = shape_of_config(config, key[0])
    return shapes


def _check_architectures(agenda: Agenda, listings: Listings, configs: Configurations) -> None:
    """Raises TrimixError where a checkpoint is of a kind that cannot be converted."""
    from ..convert import ARCHITECTURES
    from ..convert.checkpoint import class_of

    for step in agenda.steps:
        keys = [key for key, listing in listings.items() if listing == step.listing]
        for key in keys if step.kind == "checkpoint" else ():
            if class_of(configs[key]) not in ARCHITECTURES:
                names = str(configs[key].get("architectures"))[:80]
                raise TrimixError(
                    f"{step.listing.name}: its architecture {names} cannot be converted "
                    f"(supported: {', '.join(sorted(ARCHITECTURES))})"
                )


def _is_whole(root: Path, model: ModelRecord) -> bool:
    """Whether its files are there in full; `verify` looks at what is in them."""
    folder = root / MODELS / model.folder
    paths = [(folder / file.name, file.size) for file in model.files]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _absolute(profile: str) -> str:
    """A profile's name as it is, a file's path in full."""
    return str(Path(profile).absolute()) if is_toml_path(profile) else profile


def _bytes_of(folder: Path, pattern: str) -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern) if file.is_file())
