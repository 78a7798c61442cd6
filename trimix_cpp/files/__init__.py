"""Files on disk: written whole or not at all, or line by line; read as text, JSON or TOML, hashed.

Any room may import it; it imports `errors` alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
