"""`python -m trimix_cpp` is `trimix-cpp`."""

import os
import sys

# `-m` puts the current folder first on the path. Only a checkout that is not installed needs it.
if os.path.realpath(sys.path[0]) == os.path.realpath("."):
    _package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    del sys.path[0]
    if os.path.realpath(".") == _package:
        sys.path.append(_package)

from .commands import run

run()
