"""From repositories on the Hub to a trio on this machine: download, convert, quantize, write down.

Every step leaves something whole behind or nothing: a downloaded file has its name once its hash
is right, a model once it is complete, a record once the model is there, and the manifest comes
last. So a pull that was killed anywhere goes on when it is asked for again. What the repositories
held when it began is kept in `pull.json` until it is done: a new commit in between changes nothing.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AlignmentError, TrimixError, UsageError
from ..files import read_sha256
from ..gguf import ModelShape, shape_of_config
from ..showing import size_text
from ..store import (
    FileRecord,
    Manifest,
    ModelRecord,
    Repository,
    RoleRecord,
    Tell,
    bundled_files,
    collect,
    locked,
    requested,
)
from ..store import manifest as records
from .hub import download, list_repository
from .plan import (
    AUTOMATIC,
    NOTICES,
    Key,
    Offer,
    Plan,
    Step,
    default_profile,
    folder_of,
    make_plan,
)
from .state import (
    Configurations,
    Listings,
    State,
    copy_spec,
    installed_commits,
    read_state,
    remove_leftovers,
    write_state,
)
from .workshop import make_model

if TYPE_CHECKING:
    from ..store import TrioSpec

_NAME = re.compile(r"[\w][\w .+-]*")
# Tokens of the context in estimates: the default of the commands that decode.
_N_CTX = 4096


def pull(
    spec: TrioSpec,
    tell: Tell,
    *,
    profile_name: str | None = None,
    update: bool = False,
    dry_run: bool = False,
) -> Manifest | None:
    """Fetch the models of a trio into the store; returns its manifest, or None for a dry run.

    Args:
        spec: the trio; roles that are files already stay as they are.
        tell: gets lines about what happens.
        profile_name: a quantization profile, by name or TOML; None goes on with that of an
            unfinished or finished pull, or else takes one that suits this machine's memory.
        update: ask for newer commits of what is installed.
        dry_run: only tell what would be done.

    Raises:
        AlignmentError: everything is there, but these models may not be fused.
        TrimixError: in one line, whatever stands in the way; what is done is kept.
    """
    if not spec.sources:
        raise UsageError(f"the trio {spec.name} has no models on the Hub: there is nothing to pull")
    if not _NAME.fullmatch(spec.name):
        raise TrimixError(f"{spec.name!r} cannot name a folder: give the trio a plainer name")
    packaged = bundled_files()
    if spec.path not in packaged and spec.name in {file.stem for file in packaged}:
        raise UsageError(f"{spec.name} is the name of a known trio: give {spec.path} another")
    with locked(tell) as root:
        try:
            return _Pull(root, spec, tell).run(profile_name, update, dry_run)
        except OSError as error:
            raise TrimixError(
                f"{error.filename or root}: {error.strerror or error}; what is done is kept, "
                "the same command goes on from there"
            ) from error


class _Pull:
    """One pull, with the lock on the store."""

    def __init__(self, root: Path, spec: TrioSpec, tell: Tell) -> None:
        self.root, self.spec, self.tell = root, spec, tell
        self.folder = root / "trios" / spec.name
        self.unfinished = self.folder / "pull.json"

    def run(self, profile_name: str | None, update: bool, dry_run: bool) -> Manifest | None:
        from ..quant import load_profile

        remove_leftovers(self.root)
        before = None
        with suppress(TrimixError):  # a broken one is replaced
            before = records.read_manifest(self.folder / "manifest.json")
        begun = State() if update else read_state(self.unfinished)
        name = _absolute(profile_name) if profile_name else begun.profile
        if name is None and before is not None:
            name = before.profile["source"]
        if (
            before is not None
            and not update
            and not begun.listings
            and self._is_there(before, name)
        ):
            self.tell(f"{self.spec.name} is installed already (profile {before.profile['name']})")
            return before
        listings = begun.listings or self._list(update)
        configs = self._configurations(listings, begun.configs)
        offer = Offer(listings, _shapes(configs))
        if name is None:
            name = self._profile_for_this_machine(offer)
        plan = make_plan(self.spec, load_profile(name), offer)
        done = [step.name for step in plan.steps if self._finished(step)]
        self._tell_plan(plan, done)
        self._tell_memory(plan, offer)
        if dry_run:
            return None
        _check_architectures(plan, listings, configs)
        self._check_disk(plan, done)
        self._remember(name, listings, configs, plan)
        made = {step.name: self._finished(step) or self._make(step) for step in plan.steps}
        return self._install(plan, name, made)

    def _is_there(self, manifest: Manifest, profile_name: str | None) -> bool:
        from ..quant import load_profile

        same = profile_name and load_profile(profile_name).hash() == manifest.profile["hash"]
        whole = all(_is_whole(self.root, model) for model in manifest.models)
        return bool(same) and whole and manifest.requested == requested(self.spec)

    def _list(self, update: bool) -> Listings:
        """What the repositories hold, at the commits that other trios have of them already."""
        pins = {} if update else installed_commits(self.root)
        listings: Listings = {}
        wanted = {r for source in self.spec.sources.values() for r in source.repositories}
        for repository in sorted(wanted, key=lambda r: (r.name, r.revision or "")):
            pinned = Repository(repository.name, pins.get(repository.key, repository.revision))
            listings[repository.key] = list_repository(pinned, self.tell)
        return listings

    def _configurations(self, listings: Listings, kept: Configurations) -> Configurations:
        """The config.json of every checkpoint: no access to one shows before anything large."""
        from ..convert.checkpoint import read_json

        configs = dict(kept)
        for source in self.spec.sources.values():
            repository = source.checkpoint
            if repository is None or repository.key in configs:
                continue
            listing = listings[repository.key]
            path = self.root / "downloads" / folder_of(listing) / "config.json"
            if not path.exists():
                download(listing, listing.file("config.json"), path, self.tell)
            configs[repository.key] = read_json(path)
        return configs

    def _profile_for_this_machine(self, offer: Offer) -> str:
        import psutil

        from ..quant import load_profile

        total = psutil.virtual_memory().total
        profiles = {name: load_profile(name) for name in AUTOMATIC}
        name = default_profile(self.spec, total, profiles, offer)
        self.tell(
            f"profile {name}, for this machine has {size_text(total)} of memory "
            f"({profiles[name].description}); --profile takes another"
        )
        return name

    def _tell_plan(self, plan: Plan, done: list[str]) -> None:
        for step in plan.steps:
            what = {"gguf": "as it is", "lora": "converted"}.get(step.kind)
            what = what or f"converted to {step.profile.type if step.profile else ''}"
            todo = "is here already" if step.name in done else f"{size_text(step.size)} to download"
            commit = step.listing.commit[:12]
            self.tell(f"{step.listing.name} at {commit}: {todo}, {what}, {size_text(step.result)}")

    def _tell_memory(self, plan: Plan, offer: Offer) -> None:
        from ..quant import Options, estimate

        shapes = {}
        for role, source in self.spec.sources.items():
            checkpoint = (self.spec.sources["base"] if source.lora else source).checkpoint
            if checkpoint is not None and checkpoint.key in offer.shapes:
                shapes[role] = offer.shapes[checkpoint.key]
        if set(shapes) == set(self.spec.sources):
            needs = estimate(shapes, Options(n_ctx=_N_CTX), profile=plan.profile)
            self.tell(
                f"all roles need about {size_text(needs.total)} of memory for {_N_CTX} tokens, "
                f"{size_text(needs.weights)} of it for weights"
            )

    def _check_disk(self, plan: Plan, done: list[str]) -> None:
        """Raises TrimixError where the disk is too small for what comes."""
        undone = {step.folder for step in plan.steps if step.name not in done}
        here = sum(_bytes_of(self.root / "downloads" / folder) for folder in undone)
        here += sum(
            part.stat().st_size
            for f in undone
            for part in (self.root / "models" / f).glob("*.part")
        )
        needed = max(plan.disk(done) - here, 0)
        free = shutil.disk_usage(self.root).free
        if needed > free:
            raise TrimixError(
                f"{self.root}: this pull needs about {size_text(needed)} of disk on the way, and "
                f"{size_text(free)} are free; make room, or name another folder by TRIMIX_HOME"
            )
        if needed:
            self.tell(f"at most about {size_text(needed)} of disk are needed on the way")

    def _remember(
        self, profile: str, listings: Listings, configs: Configurations, plan: Plan
    ) -> None:
        write_state(self.unfinished, profile, listings, configs, plan)
        copy_spec(self.spec, self.folder / "trio.toml")

    def _finished(self, step: Step) -> ModelRecord | None:
        """The record of a step's model, if the model is whole."""
        try:
            record = records.read_record(self._record(step))
        except TrimixError:
            return None
        return record if record and _is_whole(self.root, record) else None

    def _record(self, step: Step) -> Path:
        return self.root / "models" / step.folder / f"{step.stem}.json"

    def _make(self, step: Step) -> ModelRecord:
        downloads = self.root / "downloads" / step.folder
        models = self.root / "models" / step.folder
        models.mkdir(parents=True, exist_ok=True)
        sources, files = make_model(step, downloads, models, self.tell)
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
        )
        for notice in (n for pattern in NOTICES for n in downloads.glob(pattern)):
            os.replace(notice, models / notice.name)
        records.write(record, self._record(step))
        shutil.rmtree(downloads, ignore_errors=True)
        return record

    def _install(self, plan: Plan, profile: str, made: Mapping[str, ModelRecord]) -> Manifest:
        manifest = Manifest(
            name=self.spec.name,
            requested=requested(self.spec),
            profile={
                "name": plan.profile.name,
                "hash": plan.profile.hash(),
                "source": profile,
            },
            type_k=plan.profile.type_k,
            type_v=plan.profile.type_v,
            roles={
                role: RoleRecord(
                    model.name,
                    adapter.name if adapter else None,
                    self.spec.sources[role].lora_scale,
                )
                for role, (model, adapter) in plan.roles.items()
            },
            models=tuple(made.values()),
            tools=records.tool_versions(),
            date=records.now(),
        )
        records.write(manifest, self.folder / "manifest.json")
        self.unfinished.unlink()
        try:
            if freed := collect(self.root):
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


def _check_architectures(plan: Plan, listings: Listings, configs: Configurations) -> None:
    """Raises TrimixError where a checkpoint is of a kind that cannot be converted."""
    from ..convert import ARCHITECTURES

    for step in plan.steps:
        for key, listing in listings.items():
            if step.kind == "checkpoint" and step.listing == listing:
                names = configs[key].get("architectures")
                if not isinstance(names, list) or not names or names[0] not in ARCHITECTURES:
                    raise TrimixError(
                        f"{listing.name}: its architecture {names} cannot be converted "
                        f"(supported: {', '.join(sorted(ARCHITECTURES))})"
                    )


def _is_whole(root: Path, model: ModelRecord) -> bool:
    """Whether its files are there in full; `verify` looks at what is in them."""
    folder = root / "models" / model.folder
    paths = [(folder / file.name, file.size) for file in model.files]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def _absolute(profile: str) -> str:
    """A profile's name as it is, a file's path in full."""
    path = Path(profile)
    plain = path.suffix != ".toml" and path.parent == Path()
    return profile if plain else str(path.absolute())


def _bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
