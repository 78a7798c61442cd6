"""What a type makes of a model: named choices, sizes, memory.

It reads headers and loads nothing. `llama` and every room above it may import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
