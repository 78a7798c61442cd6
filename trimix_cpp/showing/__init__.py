"""What is shown to a person: results, notices, tables, sizes, progress, pictures.

All that is printed passes here, and is made safe for a terminal on the way. Any room may import
it; it imports `errors` and `files` alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
