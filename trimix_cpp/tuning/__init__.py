"""Sample prompts under every pair of weights: scores, and answers against references.

`impact` answers prompts as this room does; else only the commands stand above it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
