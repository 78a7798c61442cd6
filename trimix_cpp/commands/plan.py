"""`trimix-cpp plan`: the types that fit into a memory at the least cost."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..files import check_destination, is_stream
from ..runtime import LIMITS, ModelFlags, find_models, shown
from ..showing import Table, count, show, show_json, size_text
from .impact_options import EvaluationFlags, evaluation_options, read_texts
from .options import model_options

if TYPE_CHECKING:
    from ..impact import Choice, Choices, Effects, Evaluation, Window
    from ..quant import Profile

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SHOWN = 12


@click.command("plan", short_help="The types that fit into a memory at the least cost.")
@click.option("--ram", required=True, metavar="SIZE", help="Memory of the machine: 8GiB, 900MiB.")
@click.option(
    "--reserve",
    metavar="SIZE",
    help="Left to the system and other programs.  [default: a quarter, at most 2GiB]",
)
@click.option(
    "--context",
    type=click.IntRange(1, LIMITS["n_ctx"][1]),
    metavar="N",
    help="Tokens of context that the trio will run with.  [default: what it was trained for, but "
    "at most 4096]",
)
@click.option(
    "--types",
    metavar="TYPE,…",
    help="Types to choose from.  [default: Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q3_K_M,Q2_K]",
)
@click.option("--kv-types", metavar="TYPE,…", help="KV types to choose from.  [default: f16,q8_0]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Write the profile, for `quantize --profile` and `pull --profile`.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@evaluation_options
@model_options
def command(
    ram: str,
    reserve: str | None,
    context: int | None,
    types: str | None,
    kv_types: str | None,
    output: Path | None,
    force: bool,
    as_json: bool,
    models: ModelFlags,
    evaluated: EvaluationFlags,
) -> None:
    """Choose a type for every role and for the KV caches, by measured impact.

    Every role is measured at every type, in the fused distribution of the weights; of all choices
    that fit into the memory the one with the least expected KLD is taken, and then measured.
    """
    whole = size(ram, "--ram")
    kept = size(reserve, "--reserve") if reserve is not None else min(whole // 4, 2 << 30)
    if kept >= whole:
        raise UsageError("--reserve leaves nothing of --ram")
    if output:
        if os.path.lexists(output) and not (force or is_stream(output)):
            raise UsageError(f"{output} exists already; --force overwrites it")
        check_destination(output, force=True)
    kinds = _names(types, "--types"), _kv_names(kv_types, exact=evaluated.exact)
    texts = read_texts(evaluated.texts, by_file=False)
    spec = find_models(models).spec
    with evaluated.open(spec) as evaluation:
        n_ctx = context or evaluation.model_ctx
        windows, effects, choices = _plan(evaluation, *kinds, texts, n_ctx, whole - kept)
        profile = choices.best.profile(
            output.stem if output else "plan",
            f"by `trimix-cpp plan --ram {ram}`, for {evaluation.weights}",
            round(whole / 2**30, 3),
        )
        measured = _measure(evaluation, profile, windows)
    if output:
        from ..impact import write_profile

        write_profile(profile, output)
    if as_json:
        document = _document(effects, choices, measured) | {"n_ctx": n_ctx}
        document["weights"] = evaluation.weights.as_json()
        document["written"] = str(output) if output else None
        show_json(document)
        return
    show(_text(evaluation, effects, choices, measured, n_ctx))
    if output:
        show(f"\nWritten: {output}")


def size(text: str, flag: str) -> int:
    """Bytes of `8GiB`, `8G`, `512 MiB`; units are powers of 1024.

    Raises:
        UsageError: it is no size.
    """
    spelling = r"([0-9]+(?:\.[0-9]+)?) *(?:([KMGT])i?)?B?"
    match = re.fullmatch(spelling, text.strip(), re.IGNORECASE)
    value = float(match[1]) * 2.0 ** _UNITS[(match[2] or "").upper()] if match else 0.0
    if not 1 <= value < 2**60:
        raise UsageError(f"{flag}: {shown(text)} is no size such as 8GiB or 900MiB")
    return int(value)


def _names(text: str | None, flag: str) -> tuple[str, ...]:
    """The types of files or caches that a list names, each once; the usual ones without a list."""
    from ..gguf import KV_TYPES, TYPES
    from ..impact import plan

    kv = flag == "--kv-types"
    if text is None:
        return plan.KV_TYPES if kv else plan.TYPES
    names = [name.strip() for name in text.split(",") if name.strip()]
    names = [name.lower() if kv else name.upper() for name in names]
    known = set(KV_TYPES) if kv else set(TYPES) - {"COPY"}
    for name in names:
        if name not in known:
            raise UsageError(
                f"{flag}: unknown type {shown(name)}; known are {', '.join(sorted(known))}"
            )
    if not names:
        raise UsageError(f"{flag}: no types to choose from")
    return tuple(dict.fromkeys(names))


def _kv_names(text: str | None, *, exact: bool) -> tuple[str, ...]:
    from ..quant import EXACT_CACHE

    names = _names(text, "--kv-types")
    if not exact:
        return names
    if text is not None and names != (EXACT_CACHE,):
        raise UsageError(
            f"--exact has {EXACT_CACHE} caches only, and cannot compare them with others; leave "
            "--kv-types or --exact out"
        )
    return (EXACT_CACHE,)


def _plan(
    evaluation: Evaluation,
    types: tuple[str, ...],
    kv_types: tuple[str, ...],
    texts: list[tuple[str, str]],
    n_ctx: int,
    limit: int,
) -> tuple[list[Window], Effects, Choices]:
    from ..gguf import read_header
    from ..impact import kv_item, make_choices, measure_effects, no_effects
    from ..llama import hardware

    roles = evaluation.weights.roles
    workshop, evaluator = evaluation.workshop(roles), evaluation.evaluator(roles)
    # Before anything is made: a text may be too short.
    windows = evaluation.windows(evaluator, texts)
    reference, *sides = (workshop.side(name) for name in ("source", *types))
    files = {
        (role, name): side.variants[role]
        for role in roles
        for name, side in zip(types, sides, strict=True)
    }
    (usual_kv,) = set(reference.type_k.values())
    caches = {
        kv_item(role, kind): reference.variants[role].with_cache(kind)
        for role in roles
        for kind in kv_types
        if kind != usual_kv
    }
    by_file: dict[Path, set[str]] = {}
    for role in roles:
        by_file.setdefault(evaluation.spec.roles[role].path, set()).add(role)
    adapters = {role: evaluation.spec.roles[role].lora for role in roles}
    choose = partial(
        make_choices,
        headers={item: read_header(variant.files.path) for item, variant in files.items()},
        kv_types=kv_types,
        usual_kv=usual_kv,
        n_ctx=n_ctx,
        limit=limit,
        together=[frozenset(group) for group in by_file.values()],
        hardware=hardware(),
        adapters={role: path.stat().st_size for role, path in adapters.items() if path},
    )
    _ = choose(no_effects((*files, *caches))).best  # whether anything fits is known before the work
    with evaluation.bar("measuring", "windows") as progress:
        effects = measure_effects(
            evaluator,
            reference,
            {**files, **caches},
            windows,
            evaluation.weights,
            evaluation.cache,
            one_by_one=evaluation.one_by_one,
            progress=progress,
        )
    evaluator.release()
    return windows, effects, choose(effects)


def _measure(evaluation: Evaluation, profile: Profile, windows: list[Window]) -> float:
    """The mean KLD of the whole profile, as `impact` measures it."""
    from ..impact import Task, fused_name

    roles, task = evaluation.weights.roles, Task(evaluation.weights)
    workshop, evaluator = evaluation.workshop(roles), evaluation.evaluator(roles)
    sides = workshop.side("source"), [workshop.profile(profile)]
    (comparison,) = evaluation.compare(evaluator, *sides, windows, task)
    return comparison.mean_kld(fused_name(roles))


def _document(effects: Effects, choices: Choices, measured: float) -> dict[str, Any]:
    return {
        "limit": choices.limit,
        "best": choices.best.as_json() | {"measured KLD": measured},
        "better": choices.better.as_json() if choices.better else None,
        "effects": [
            {"role": role, "what": what, "mean KLD": float(effects.main[i])}
            for i, (role, what) in enumerate(effects.items)
        ],
        "covariance": effects.covariance.tolist(),
        "positions": effects.n,
        "frontier": [choice.as_json() for choice in choices.frontier],
    }


def _text(
    evaluation: Evaluation, effects: Effects, choices: Choices, measured: float, n_ctx: int
) -> str:
    weights, best = evaluation.weights, choices.best
    roles = weights.roles
    whats = list(dict.fromkeys(what for _, what in effects.items))
    value = {item: float(effects.main[i]) for i, item in enumerate(effects.items)}
    shown = ", ".join(f"{role} {c:g}" for role, c in weights.coefficients.items())
    effect = Table(
        ["", *whats],
        [[role, *(f"{value[role, what]:.6f}" for what in whats)] for role in roles],
        f"Mean KLD of the fused distribution by one role alone (coefficients: {shown})",
        count(effects.n, "position"),
    )
    at = choices.frontier.index(best) if best in choices.frontier else 0
    low = max(0, min(at - _SHOWN // 2, len(choices.frontier) - _SHOWN))
    frontier = Table(
        ["", *roles, "KV", "memory", "expected KLD"],
        [
            ["best" if choice == best else "", *_cells(choice, roles)]
            for choice in choices.frontier[low : low + _SHOWN]
        ],
        f"Choices that nothing smaller beats ({len(choices.frontier)} of {len(choices.choices)})",
    )
    types = ", ".join(f"{role} {kind}" for role, kind in best.types.items())
    lines = [
        f"{types}; KV {best.kv}: {size_text(best.memory)} of {size_text(choices.limit)} at {n_ctx} "
        f"tokens of context",
        f"mean KLD: expected {best.expected:.6f}, measured {measured:.6f}",
        *_reasons(choices, effects, roles),
    ]
    return "\n\n".join(["\n".join(lines), effect.text(), frontier.text()])


def _cells(choice: Choice, roles: tuple[str, ...]) -> list[str]:
    types = [choice.types[role] for role in roles]
    return [*types, choice.kv, size_text(choice.memory), f"{choice.expected:.6f}"]


def _reasons(choices: Choices, effects: Effects, roles: tuple[str, ...]) -> list[str]:
    """Why this one: where the error is, and what the next better would need."""
    best, better = choices.best, choices.better
    parts = {
        role: float(effects.main[effects.items.index((role, best.types[role]))]) for role in roles
    }
    most = max(parts, key=lambda role: parts[role])
    lines = [f"most of it comes from {most} as {best.types[most]}: {parts[most]:.6f} by itself"]
    if better:
        more = [f"{r} {better.types[r]}" for r in roles if better.types[r] != best.types[r]]
        if better.kv != best.kv:
            more.append(f"KV {better.kv}")
        lines.append(
            f"the next better choice ({', '.join(more)}) would save "
            f"{best.expected - better.expected:.6f} and needs {size_text(better.memory)}"
        )
    else:
        lines.append("no choice is better, however much memory there is")
    return lines
