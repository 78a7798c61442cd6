"""The Python face: what `import trimix_cpp` offers, and what the commands are made of.

It brings models, decoding, chat and translation together; `commands` and `trimix_cpp` itself
import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
