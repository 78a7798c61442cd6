"""How fast a trio is on this machine, through the one loop; on random weights without any model.

Only the commands stand above this room.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
