"""Run mypy or import-linter on the sources as they are installed: `convert/` in the package.

    python tools/as_installed.py types|imports

Neither follows setuptools' `package-dir` mapping, so both get a copy that looks like the installed
package.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = str(ROOT / "pyproject.toml")
IMPORTS = "from importlinter.cli import lint_imports_command as main; main()"


def main(what: str) -> int:
    """Check the package, the tools and `cli.py`; returns the tool's exit code."""
    commands = {
        "types": ["-m", "mypy", "--config-file", CONFIG, "--cache-dir", str(ROOT / ".mypy_cache"),
                  "trimix_cpp", "cli.py", "as_installed.py"],
        "imports": ["-c", IMPORTS, CONFIG, "--cache-dir", str(ROOT / ".import_linter_cache")],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "trimix_cpp"
        shutil.copytree(ROOT / "trimix_cpp", package, ignore=shutil.ignore_patterns("*.gguf"))
        shutil.copytree(ROOT / "convert", package / "convert")
        for tool in (ROOT / "cli.py", Path(__file__)):
            shutil.copy(tool, folder)
        return subprocess.call([sys.executable, *commands[what]], cwd=folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
