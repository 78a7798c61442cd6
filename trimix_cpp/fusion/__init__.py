"""The method, on arrays: weights, rows, choosers, samplers, divergences.

It imports NumPy and `errors` alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
