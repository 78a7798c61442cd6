"""Models that are on this machine already: other programs' folders, and what lies in them.

Nothing here is written but links and copies that a caller asks for; nothing of the other programs'
is changed. `pull` and `scan` import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
