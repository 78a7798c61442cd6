"""What `--cluster` says: workers of this machine, a scheduler, or a file that describes one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import UsageError

_MOST_LOCAL = 256
_LOCAL = re.compile(r"local:([0-9]{1,4})")
_REMOTE = re.compile(r"(tcp|tls)://(\[[0-9A-Fa-f:.%]+\]|[\w.-]+):([0-9]{1,5})", re.ASCII)
_FORMS = (
    "give local:N for N processes here, tcp://HOST:PORT or tls://HOST:PORT of a Dask scheduler, "
    "or a TOML file about a cluster"
)


@dataclass(frozen=True)
class Address:
    """Where workers are.

    Attributes:
        kind: processes of this machine, a scheduler that runs, or a cluster that a file describes.
        n_workers: of "local".
        url, host, port: of "scheduler".
        path: of "file".
    """

    kind: Literal["local", "scheduler", "file"]
    n_workers: int = 0
    url: str = ""
    host: str = ""
    port: int = 0
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """What the text stands for; raises UsageError where it means nothing."""
        if match := _LOCAL.fullmatch(text):
            number = int(match[1])
            if not 1 <= number <= _MOST_LOCAL:
                raise UsageError(f"--cluster {text}: from 1 to {_MOST_LOCAL} processes")
            return cls("local", n_workers=number)
        if match := _REMOTE.fullmatch(text):
            if not 1 <= int(match[3]) <= 65535:
                raise UsageError(f"--cluster {text}: a port is from 1 to 65535")
            return cls("scheduler", url=text, host=match[2].strip("[]"), port=int(match[3]))
        if text.lower().endswith(".toml"):
            return cls("file", path=Path(text))
        raise UsageError(f"--cluster {text!r}: {_FORMS}")

    def __str__(self) -> str:
        if self.kind == "local":
            return f"local:{self.n_workers}"
        return self.url or str(self.path)
