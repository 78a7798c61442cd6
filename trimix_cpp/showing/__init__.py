"""What is shown to a person: bars, pictures.

Any room may import it; it imports `errors` alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
