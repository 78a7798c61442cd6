"""What `bench` found: ratios first, then absolute values, as Markdown, JSON or CSV."""

from __future__ import annotations

import csv
import io
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from statistics import median
from typing import Any

import psutil

from .. import __version__
from ..decoding import Trio
from ..gguf import read_header
from ..llama import extra_buffers_work, features, hardware, physical_cores, supports_gpu
from ..quant import cpu_name, estimate, total_memory
from ..showing import Table, json_text, size_text
from .measure import Sample, Samples, Workload


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the least and the greatest."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Ratio:
    """How much faster `what` is than `than`, taken within each repetition."""

    what: str
    than: str
    spread: Spread


def ratios(samples: Samples, workload: Workload) -> list[Ratio]:
    """Every comparison that the tests allow; above 1 is faster, or for batches more a second."""
    found = []

    def compare(what: str, than: str, fast: str, slow: Sequence[str], factor: float = 1) -> None:
        if fast in samples and all(name in samples for name in slow):
            rows = zip(samples[fast], *(samples[name] for name in slow), strict=True)
            values = [
                factor * sum(s.seconds_per_token for s in others) / own.seconds_per_token
                for own, *others in rows
            ]
            found.append(Ratio(what, than, Spread.of(values)))

    parts = [f"step {role}" for role in workload.weights.roles]
    kind = "text" if "text fused" in samples else "step"
    compare("plain fused stepping", "the sum of its parts", "step fused", parts)
    compare("plain fused stepping", "large alone", f"{kind} fused", [f"{kind} large"])
    drafts = [name for name in samples if name.startswith("draft ")]
    for than, slow in (("large alone", f"{kind} large"), ("plain stepping", f"{kind} fused")):
        for name in drafts:
            compare(f"fused with drafts: {name.split()[1]}", than, name, [slow])
    for name in samples:
        if name.startswith("batch "):
            size, _, drafted = name.removeprefix("batch ").partition(" drafts ")
            what = f"{size} sequences at once"
            if drafted:
                compare(f"{what} with drafts: {drafted}", "plainly", name, [f"batch {size}"])
            else:
                compare(what, "one", name, ["batch 1"])
    return found


def shares(samples: Samples) -> dict[str, float]:
    """Parts of the time of plain fused stepping; they add up to 1."""
    runs = samples["step fused"]
    return {key: median(run.counts[key] / run.seconds for run in runs) for key in runs[0].counts}


def acceptance(samples: Samples) -> dict[str, float]:
    """Drafting -> how many of the drafts that were compared were right."""
    found = {}
    for name, runs in samples.items():
        compared = sum(run.counts.get("compared", 0) for run in runs)
        if compared:
            accepted = sum(run.counts["accepted"] for run in runs)
            found[name.removeprefix("draft ")] = accepted / compared
    return found


def memory(trio: Trio) -> dict[str, Any]:
    """The most that this process has had, beside what the trio needs; bytes."""
    options = trio.options
    headers = {role: read_header(trio.spec.roles[role].path) for role in trio.roles}
    needed = estimate(headers, replace(options, n_ctx=trio.n_ctx), hardware=hardware())
    roles = needed.roles.values()
    parts = sum(role.weights + role.repacked + role.cache + role.logits for role in roles)
    peak = peak_memory()
    return {
        "peak": peak,
        "weights_cache_logits": parts,
        "peak_over_weights_cache_logits": peak / parts,
        "estimate": needed.total,
        "repacked": sum(role.repacked for role in roles),
        "cache": sum(role.cache for role in roles),
        "logits": sum(role.logits for role in roles),
        "sequences": options.n_parallel,
        "context": trio.n_ctx,
    }


def peak_memory() -> int:
    """The greatest resident size of this process so far, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def machine(n_threads: int) -> dict[str, Any]:
    """Where and with what it was measured."""
    return {
        "cpu": cpu_name(),
        "cores": physical_cores(),
        "threads": n_threads or physical_cores(),
        "memory_gib": round(total_memory() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(load(), 2),
        "llama_cpp_python": version("llama-cpp-python"),
        "llama_cpp_features": list(features()),
        "repacked_weights": extra_buffers_work(),
        "gpu": supports_gpu(),
        "trimix_cpp": __version__,
        "date": datetime.now(timezone.utc).date().isoformat(),
    }


def load() -> float:
    """Processes that wanted to run in the last minute, 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def document(
    samples: Samples, workload: Workload, trio: Trio, about: Mapping[str, Any]
) -> dict[str, Any]:
    """All of it: the document of `-o json`; `about` says what was measured on."""
    return {
        **about,
        "models": {role: _model(trio, role) for role in trio.roles},
        "weights": workload.weights.as_json(),
        "acceptance": {
            "simulated": workload.acceptance,
            "measured": {name: round(rate, 4) for name, rate in acceptance(samples).items()},
        },
        "settings": {
            "prompt": workload.n_prompt,
            "generated": workload.n_gen,
            "depth": workload.depth,
            "repetitions": workload.repetitions,
            "exact": trio.options.exact,
        },
        "ratios": [
            {"what": ratio.what, "than": ratio.than, **_spread(ratio.spread, 1)}
            for ratio in ratios(samples, workload)
        ],
        "tests": [_test(name, runs) for name, runs in samples.items()],
        "shares": {key: round(value, 4) for key, value in shares(samples).items()},
        "memory": memory(trio),
    }


def _model(trio: Trio, role: str) -> dict[str, Any]:
    model = trio.context(role).model
    return {"file": model.path.name, "parameters": model.n_params, "bytes": model.n_bytes}


def _test(name: str, runs: Sequence[Sample]) -> dict[str, Any]:
    speeds = Spread.of([run.tokens / run.seconds for run in runs])
    return {
        "test": name,
        "tokens": runs[0].tokens,
        "seconds": round(median(run.seconds for run in runs), 6),
        "tokens_per_second": _spread(speeds, 1)["median"],
        "least": _spread(speeds, 1)["least"],
        "most": _spread(speeds, 1)["most"],
    }


def _spread(spread: Spread, unit: float) -> dict[str, float]:
    values = {"median": spread.median, "least": spread.least, "most": spread.most}
    return {key: round(value * unit, 4) for key, value in values.items()}


def as_csv(found: Mapping[str, Any]) -> str:
    """A line a ratio and a line a test."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["kind", "name", "than", "median", "least", "most", "tokens", "seconds"])
    for row in found["ratios"]:
        values = [row[key] for key in ("median", "least", "most")]
        writer.writerow(["ratio", row["what"], row["than"], *values, "", ""])
    for row in found["tests"]:
        values = [row[key] for key in ("tokens_per_second", "least", "most", "tokens", "seconds")]
        writer.writerow(["tokens_per_second", row["test"], "", *values])
    return out.getvalue().rstrip("\n")


def as_markdown(found: Mapping[str, Any]) -> str:
    """Tables for a terminal and for a page alike."""
    compared = ("ratio", "than", "median", "least", "most")
    ratios = [
        (row["what"], row["than"], *_numbers(row, "median least most", ".2f"))
        for row in found["ratios"]
    ]
    parts = [
        _about(found),
        Table(compared, ratios).markdown(padded=True) if ratios else "",
        Table(
            ("test", "tokens", "tokens/s", "least", "most", "ms/token"),
            [
                (
                    row["test"],
                    str(row["tokens"]),
                    *_numbers(row, "tokens_per_second least most", ".2f"),
                    f"{1e3 / row['tokens_per_second']:.2f}",
                )
                for row in found["tests"]
            ],
        ).markdown(padded=True),
        _memory(found["memory"]),
        "Of plain fused stepping: "
        + ", ".join(f"{key} {value:.1%}" for key, value in found["shares"].items())
        + ".",
        _machine(found["machine"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _about(found: Mapping[str, Any]) -> str:
    weights, settings = found["weights"], found["settings"]
    models = ", ".join(
        f"{role} {model['file']} ({model['parameters'] / 1e6:,.0f} M, {size_text(model['bytes'])})"
        for role, model in found["models"].items()
    )
    rates = found["acceptance"]
    drafts = ""
    if rates["simulated"] is not None:
        drafts = f" Each draft counts as right with probability {rates['simulated']:g}: simulated."
    elif rates["measured"]:
        shown = ", ".join(f"{name}: {rate:.1%}" for name, rate in rates["measured"].items())
        drafts = f" Drafts that were right, by drafts a round: {shown}."
    return (
        f"{found['trio']}: {models}. alpha {weights['alpha']:g}, beta {weights['beta']:g}; "
        f"prompts of {settings['prompt']} tokens, {settings['generated']} generated after "
        f"{settings['depth']}, {settings['repetitions']} repetitions in turn"
        f"{', exact mode' * settings['exact']}.{drafts}"
    )


def _memory(found: Mapping[str, Any]) -> str:
    return (
        f"Weights, KV caches and logits {size_text(found['weights_cache_logits'])}, for "
        f"{found['sequences']} places of {found['context']} tokens. Peak memory "
        f"{size_text(found['peak'])}, {found['peak_over_weights_cache_logits']:.3f} of them; "
        f"estimate {size_text(found['estimate'])}."
    )


def _machine(found: Mapping[str, Any]) -> str:
    repacked = "repacked weights" if found["repacked_weights"] else "no repacked weights"
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['threads']} threads, "
        f"{found['memory_gib']:g} GiB, {found['system']}, load {found['load']:g} at the start; "
        f"llama-cpp-python {found['llama_cpp_python']}, {repacked}; {found['date']}."
    )


def _numbers(row: Mapping[str, float], keys: str, style: str) -> list[str]:
    return [format(row[key], style) for key in keys.split()]


FORMATS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "md": as_markdown,
    "json": json_text,
    "csv": as_csv,
}
