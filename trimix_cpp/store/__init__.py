"""Which trios there are on this machine, and which file plays which role.

No model is loaded here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
