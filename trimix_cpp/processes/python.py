"""How a Python child is started, so that it imports what its parent would and nothing else.

`python -m`, `python -c` and multiprocessing put the current folder first on the path: a
`selectors.py` that lies there is run in place of the standard library's. A script puts its own
folder there, so the child is the script `child.py`, and the path goes with it. (`-I` would do it
too, and lose PYTHONPATH and the user's site-packages; `-P` came with Python 3.11.)
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

Child = subprocess.Popen[bytes]

_PACKAGE = Path(__file__).resolve().parents[1]
_CHILD = Path(__file__).with_name("child.py")


def start(module: str) -> Child:
    """Run `main()` of the module in a Python of its own, with pipes as its stdin and stdout.

    What it writes to stderr goes nowhere. Ctrl-C in the terminal does not reach it; it should end
    when its stdin does.
    """
    windows = sys.platform == "win32"
    return subprocess.Popen(
        command(module),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        start_new_session=not windows,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
        | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def command(module: str, *arguments: str) -> list[str]:
    """What runs `main()` of the module, with these arguments as its `sys.argv[1:]`."""
    path = _absolute(sys.path)
    begins = [sys.executable, str(_CHILD), module, str(_PACKAGE.parent), str(len(path))]
    return [*begins, *path, *arguments]


def environment() -> dict[str, str]:
    """The environment of a child: the path in it has no entry that means the current folder."""
    # An empty entry ("/a:") means the current folder too.
    kept = _absolute(os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(kept)}


def _absolute(path: Sequence[str]) -> list[str]:
    return [entry for entry in path if os.path.isabs(entry) and not _is_here(entry)]


def _is_here(entry: str) -> bool:
    try:
        return os.path.realpath(entry) == os.path.realpath(os.getcwd())
    except OSError:  # the current folder is gone
        return not entry
