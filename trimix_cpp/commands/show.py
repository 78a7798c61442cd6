"""`trimix-cpp show`: one trio in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..runtime import LIMITS
from ..showing import show, show_json, size_text
from .options import whole

if TYPE_CHECKING:
    from ..store import KnownTrio


@click.command("show", short_help="A trio: its models, weights, sources, licences.")
@click.argument("name", metavar="[NAME|TOML]", required=False)
@click.option("--lang", metavar="CODE", help="The first trio for a language, pulled or not.")
@click.option(
    "-c",
    "--ctx-size",
    type=whole(1, LIMITS["n_ctx"][1]),
    default=4096,
    show_default=True,
    metavar="N",
    help="Tokens of a sequence, for the estimate of memory.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the text.")
def command(name: str | None, lang: str | None, ctx_size: int, as_json: bool) -> None:
    """Show one trio: where its models come from, its weights, and what memory it needs.

    The memory is known of installed trios; `pull --dry-run` tells it of others.
    """
    from ..errors import TrimixError, UsageError
    from ..prompts import language
    from ..store import find_entry, known_for_language

    if (name is None) == (lang is None):
        raise UsageError("name a trio, or a language by --lang (`trimix-cpp list` shows the trios)")
    if name is not None:
        entry = find_entry(name)
    else:
        wanted = language(str(lang))
        fitting = known_for_language(wanted.code)
        if not fitting:
            raise TrimixError(f"no trio for {wanted.name} ({wanted.code}) is known")
        entry = next((e for e in fitting if e.installed), fitting[0])
    document, gone = _document(entry), entry.missing
    document["memory"] = _memory(entry, ctx_size) if entry.installed and not gone else None
    if as_json:
        show_json(document)
    else:
        show("\n".join(_lines(document)))


def _document(entry: KnownTrio) -> dict[str, Any]:
    from dataclasses import asdict

    spec, manifest = entry.spec, entry.manifest
    return {
        "name": spec.name,
        "description": spec.description,
        "languages": list(spec.languages),
        "scripts": list(spec.scripts),
        "licence": spec.licence,
        "seen": spec.seen,
        "installed": entry.installed,
        "unfinished": entry.unfinished,
        "toml": str(spec.path),
        "weights": list(spec.weights.numbers),
        "presets": {task: list(weights.numbers) for task, weights in spec.presets.items()},
        "sources": {role: asdict(source) for role, source in spec.sources.items()},
        "files": {
            role: {"path": str(r.path), "lora": str(r.lora) if r.lora else None}
            for role, r in spec.roles.items()
        },
        "missing": [str(path) for path in entry.missing],
        "type_k": dict(spec.type_k),
        "type_v": dict(spec.type_v),
        "manifest": asdict(manifest) if manifest else None,
    }


def _memory(entry: KnownTrio, n_ctx: int) -> dict[str, Any]:
    """What all its roles need, and what those need that its own weights use."""
    from ..gguf import read_header
    from ..llama import hardware
    from ..quant import Options, estimate

    spec = entry.spec
    headers = {role: read_header(files.path) for role, files in spec.roles.items()}
    needs = estimate(
        headers,
        Options(n_ctx=n_ctx, type_k=spec.type_k, type_v=spec.type_v),
        hardware=hardware(),
        adapters={r: f.lora.stat().st_size for r, f in spec.roles.items() if f.lora},
    )
    used = [role for role in spec.weights.roles if role in headers]
    return {"n_ctx": n_ctx, "used": used, **needs.as_json()}


def _memory_lines(memory: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("memory", f"for a sequence of {memory['n_ctx']} tokens")]
    for role, need in memory["roles"].items():
        parts = {
            "weights": need["weights"] + need["repacked"],
            "KV cache": need["cache"],
            "logits": need["logits"],
            "the rest": need["compute"] + need["vocabulary"],
        }
        listed = ", ".join(f"{part} {size_text(nbytes)}" for part, nbytes in parts.items())
        lines.append((f"  {role}", f"{size_text(need['total'])}: {listed}"))
    used = memory["program"] + sum(memory["roles"][role]["total"] for role in memory["used"])
    lines.append(("  in all", size_text(memory["total"])))
    lines.append(("  at its own weights", f"{size_text(used)} ({', '.join(memory['used'])})"))
    return lines


def _lines(document: dict[str, Any]) -> list[str]:
    """The document for a reader: a line for each thing that is there."""
    manifest = document["manifest"]
    state = "installed" if document["installed"] else "not installed"
    if document["unfinished"]:
        state += ", a pull is unfinished"
    if document["missing"]:
        state += ", files are missing"
    lines = [
        ("name", document["name"]),
        ("description", document["description"]),
        ("languages", ", ".join(document["languages"])),
        ("scripts", ", ".join(document["scripts"])),
        ("state", state),
        ("licences", document["licence"]),
        ("looked up", document["seen"]),
        ("weights", _shown(document["weights"])),
        *((f"  {task}", _shown(pair)) for task, pair in document["presets"].items()),
    ]
    for role, source in document["sources"].items():
        named = (source[kind]["name"] for kind in ("checkpoint", "gguf", "lora") if source[kind])
        lines.append((role, " or ".join(named)))
    for role, files in document["files"].items():
        lines.append((f"{role} file", " + ".join(f for f in files.values() if f)))
    for path in document["missing"]:
        lines.append(("missing", f"{path}: `trimix-cpp pull --trio {document['name']}` makes it"))
    if manifest:
        lines.append(("profile", manifest["profile"]["name"]))
        lines.append(("pulled", manifest["date"]))
        for model in manifest["models"]:
            size = size_text(sum(file["size"] for file in model["files"]))
            where = f"{model['repository']} at {model['revision'][:12]}"
            lines.append(("model", f"{where}: {model['stem']}, {size}"))
    if document["memory"]:
        lines += _memory_lines(document["memory"])
    return [f"{label:<28}{text}" for label, text in lines if text]


def _shown(pair: list[float]) -> str:
    return ", ".join(f"{number:g}" for number in pair)
