"""A model over tokens, read as a model over bytes: pure NumPy, on arrays.

Tokens of different vocabularies have nothing in common but the bytes that they spell. A text has
many tokenizations; its next byte's distribution is a sum over them, which a beam follows.
`alignment`, `decoding` and every room above them may import it; it knows only NumPy, `fusion` and
errors.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
