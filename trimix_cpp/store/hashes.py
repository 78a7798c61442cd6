"""What stands for a model in the keys of journals: the hashes of its files, not their names."""

from __future__ import annotations

import glob
import hashlib
import re

from .root import sha256
from .spec import RoleSpec


def fingerprint(model: RoleSpec) -> str:
    """The hash of a role's file, of all its parts if it is split, and of its adapter.

    Raises:
        OSError: a file cannot be read.
    """
    parts = [model.path]
    if split := re.fullmatch(r"(.*-)00001(-of-\d{5}\.gguf)", model.path.name):
        parts = sorted(model.path.parent.glob(f"{glob.escape(split[1])}[0-9]*{split[2]}"))
    hashes = [sha256(part) for part in parts]
    text = hashes[0]
    if len(hashes) > 1:
        text = hashlib.sha256(" ".join(hashes).encode()).hexdigest()
    return text if model.lora is None else f"{text}+{sha256(model.lora)}*{model.lora_scale:g}"
