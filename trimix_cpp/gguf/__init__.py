"""GGUF files: ggml's types, headers, and the checks that stand before llama.cpp.

Any room above may import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
