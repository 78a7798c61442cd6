"""What quantization does to the fused distribution, and which types fit at the least cost.

A side is the files and caches of a trio's roles under one name (`sides`). Its logits on windows of
text (`evaluator`, `passes`) are compared with the reference's (`compare`), or tell what each role
costs by itself (`plan`). Only the commands stand above this room.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
