"""TriMix-cpp: three GGUF models of one family, fused token by token for a low-resource language.

    import trimix_cpp
    with trimix_cpp.load("uig") as trio:
        print(trio.generate("…", max_tokens=64).text)

docs/python.md tells the rest. Nothing heavy is imported before something is loaded.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
