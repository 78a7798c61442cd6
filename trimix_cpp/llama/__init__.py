"""The only room that calls llama.cpp: models, contexts, quantization, importance matrices, servers.

`alignment`, `convert` and every room above them may import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
