"""What a side costs: bytes on the disk, memory, speed; the last two in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from ..errors import TrimixError
from ..fusion import Weights
from ..gguf import read_header
from ..processes import Call, ChildDiedError, Send
from ..quant import Options, estimate
from ..store import TrioSpec
from .sides import Side

# Batches of which is told what they cost.
_BATCHES = (1, 4, 16)
# Tokens that are generated for the speed.
_GENERATED = 64


@dataclass(frozen=True)
class Run:
    """One run, in a process of its own.

    Attributes:
        peak_bytes: the most memory that the process had resident, mapped files among it.
        prompt_speed, speed: tokens a second, of the prompt and of the generation.
        batch_steps: n -> what n tokens in one batch cost the roles that check drafts (all but cpt,
            if there are others), in single tokens of these.
    """

    peak_bytes: int
    prompt_speed: float
    speed: float
    batch_steps: Mapping[int, float]


@dataclass(frozen=True)
class Cost:
    """What a side costs.

    Attributes:
        disk_bytes: of the files of the roles in use, each once.
        memory_bytes: estimated, for `n_ctx` tokens of context.
        n_ctx: tokens of context.
        run: measured, where it was asked for.
    """

    disk_bytes: int
    memory_bytes: int
    n_ctx: int
    run: Run | None = None

    def as_json(self) -> dict[str, Any]:
        """Bytes, and tokens a second."""
        return asdict(self)


def cost(side: Side, weights: Weights, n_ctx: int, run: Run | None = None) -> Cost:
    """The cost of a side when it runs with `n_ctx` tokens of context."""
    from ..llama import hardware

    used = {role: side.variants[role] for role in weights.roles}
    in_use = Side(side.name, used, side.types)
    needed = estimate(
        {role: read_header(one.files.path) for role, one in used.items()},
        Options(n_ctx=n_ctx, type_k=in_use.type_k, type_v=in_use.type_v),
        hardware=hardware(),
        adapters={r: v.files.lora.stat().st_size for r, v in used.items() if v.files.lora},
    )
    return Cost(sum(in_use.files.values()), needed.total, n_ctx, run)


def timed_run(spec: TrioSpec, weights: Weights, options: Options, prompt: Sequence[int]) -> Run:
    """Evaluate `prompt`, generate greedily after it, and tell what it took.

    Args:
        spec: the trio with a side's files.
        weights: of the fusion.
        options: how it runs.
        prompt: ids; it is cut to half of the context.

    Raises:
        TrimixError: the process died, or what the models raise.
    """
    try:
        with Call(_run, spec, weights, options, list(prompt)) as call:
            return Run(*next(iter(call)))
    except ChildDiedError as error:
        raise TrimixError(
            f"{spec.name}: its speed cannot be measured: {error}; is there enough memory?"
        ) from None


def _run(send: Send, spec: TrioSpec, weights: Weights, options: Options, prompt: list[int]) -> None:
    from ..bench import batch_costs, in_steps
    from ..decoding import Decoder, Text, Trio, generate

    options = replace(options, n_outputs=max(options.n_outputs, _BATCHES[-1]))
    checking = [role for role in weights.roles if role != "cpt"] or ["cpt"]
    with Trio(spec, weights.roles, options) as trio:
        decoder = Decoder(trio, keep=False)
        text = Text(prompt[: trio.n_ctx // 2], weights, max_tokens=_GENERATED, ignore_ends=True)
        list(generate(decoder, [text]))
        timings = decoder.timings
        costs = batch_costs(trio, sizes=_BATCHES)
        seconds = {n: sum(costs[role][n] for role in checking) for n in _BATCHES}
        send([_peak(), timings.prompt_speed, timings.speed, in_steps(seconds)])


def _peak() -> int:
    """The greatest resident size so far, in bytes; the present one where it is not told."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return int(psutil.Process().memory_info().rss)
