"""What a type makes of a model: named choices, sizes, memory.

It reads headers and loads nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
