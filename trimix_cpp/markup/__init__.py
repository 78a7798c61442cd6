"""What stands in a text and is no language: placeholders, ICU messages, keyboard accelerators.

Pure functions on texts. `documents` hides them from the models by it, and `translate` checks that
a translation carries them over.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
