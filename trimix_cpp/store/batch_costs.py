"""What batches of each size cost here: kept by what decides it, so that it is measured once.

That is what a model file consists of (the types and shapes of its tensors, not their values), how
it runs, and on what. Fine-tunes of a model share an entry; another machine or build has its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from ..errors import TrimixError
from ..files import as_type, read_json, write_json
from ..gguf import read_header
from ..quant import Options, cpu_name
from .root import home
from .spec import TrioSpec

_FILE = "batch_costs.json"
_MOST_ENTRIES = 500
_MOST_TOKENS = 4096

# n -> what a batch of n tokens costs, in single tokens; 1 among them.
Steps = Mapping[int, float]


def known_batch_costs(spec: TrioSpec, options: Options) -> dict[str, Steps]:
    """Role -> what was measured for its file, options and machine; roles without are left out.

    Nothing is an error here: what is not known is learned while texts are made.
    """
    known: dict[str, Steps] = {}
    with suppress(TrimixError, OSError):
        entries = _read(home() / _FILE)
        for role in spec.roles if entries else ():
            if steps := entries.get(_key(spec, role, options)):
                known[role] = steps
    return known


def keep_batch_costs(spec: TrioSpec, options: Options, measured: Mapping[str, Steps]) -> Path:
    """Add what was measured, by role; returns the file that holds it.

    Raises:
        OSError: the store's folder cannot be written to.
        TrimixError: a model file cannot be read.
    """
    path = home() / _FILE
    entries: dict[str, Steps] = {}
    with suppress(TrimixError):  # a damaged file is written anew
        entries = _read(path)
    for role, steps in measured.items():
        key = _key(spec, role, options)
        entries.pop(key, None)
        entries[key] = steps
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = list(entries.items())[-_MOST_ENTRIES:]
    write_json({key: {str(n): cost for n, cost in steps.items()} for key, steps in kept}, path)
    return path


def _read(path: Path) -> dict[str, Steps]:
    """The entries of the file; none where there is no file, or none that is of use."""
    if not path.exists():
        return {}
    try:
        data = as_type(read_json(path), dict[str, dict[str, float]])
        entries = {key: {int(n): cost for n, cost in steps.items()} for key, steps in data.items()}
    except ValueError:
        return {}
    return {key: steps for key, steps in entries.items() if _is_usable(steps)}


def _is_usable(steps: Steps) -> bool:
    return 1 in steps and all(0 < n <= _MOST_TOKENS and 0 < cost < 1e6 for n, cost in steps.items())


def _key(spec: TrioSpec, role: str, options: Options) -> str:
    model = spec.roles[role]
    header = read_header(model.path)
    tensors = sorted((tensor.name, tensor.type, tensor.shape) for tensor in header.tensors)
    decides = [
        [header.architecture, tensors, model.lora is not None],
        [options.n_threads, options.layers_on_gpu(role), options.cache_types(role)],
        [options.exact, options.flash_attn, options.n_ubatch],
        [cpu_name(), os.cpu_count(), version("llama-cpp-python")],
    ]
    if servers := options.servers(role):
        decides.append([servers])
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()
