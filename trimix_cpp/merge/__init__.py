"""Models of one shape into one: TIES, task arithmetic, and the mean, on Hugging Face folders.

The paper's baseline in weights, beside its fusion of logits. `methods` and `trimming` are pure
NumPy; `sources` says which checkpoints go together, `run` streams them into a new one. The command
line imports it; it imports `convert`, which reads checkpoints, and what lies below.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
