"""TriMix-cpp: three GGUF models of one family, fused token by token for a low-resource language.

    import trimix_cpp
    with trimix_cpp.load("uig") as trio:
        print(trio.generate("…", max_tokens=64).text)

docs/python.md tells the rest. Nothing heavy is imported before something is loaded.
"""

import os
import sys

# `python -m trimix_cpp` puts the current folder, which may hold anything, first on the path; -m
# stands in for the program's name until `__main__` is found. A checkout needs it, as the last.
if sys.argv[:1] == ["-m"] and os.path.isdir(sys.path[0] or "."):
    _here = sys.path.pop(0)
    if os.path.samefile(os.path.dirname(os.path.dirname(__file__)), _here or "."):
        sys.path.append(_here)

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
