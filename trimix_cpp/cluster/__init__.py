"""Work on several machines, by Dask distributed: who has a place takes the next item.

It knows no models: what opens on each worker is its caller's, an `Opening`. `commands` import it.
Dask is the extra `cluster`, imported when a cluster is asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
