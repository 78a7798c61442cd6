"""Which trios there are on this machine, which file plays which role, and what was pulled.

No model is loaded here. Rooms from `decoding` up import it for `TrioSpec`; `pull` fills it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
