"""Other Pythons: the one place that starts a child process.

Any room may import it; it imports `errors` alone. What a child imports never comes from the folder
where the user stands, which may hold anything.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
