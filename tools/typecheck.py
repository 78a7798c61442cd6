"""Run mypy on the sources as they are installed: `convert/` as `trimix_cpp.convert`.

mypy does not follow setuptools' `package-dir` mapping, so it gets a folder of links that looks
like the installed package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Check the package, the tools and `cli.py`; returns mypy's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "trimix_cpp"
        shutil.copytree(ROOT / "trimix_cpp", package, ignore=shutil.ignore_patterns("*.gguf"))
        shutil.copytree(ROOT / "convert", package / "convert")
        for tool in (ROOT / "cli.py", ROOT / "tools" / "typecheck.py"):
            shutil.copy(tool, folder)
        config = ["--config-file", str(ROOT / "pyproject.toml")]
        cache = ["--cache-dir", str(ROOT / ".mypy_cache")]
        targets = ["trimix_cpp", "cli.py", "typecheck.py"]
        return subprocess.call(
            [sys.executable, "-m", "mypy", *config, *cache, *targets], cwd=folder, env=os.environ
        )


if __name__ == "__main__":
    sys.exit(main())
