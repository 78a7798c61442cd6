"""The files of localizers: which segments they hold, and how a translation is written into them.

A module each format, behind the table in `formats`; what is not translated comes out byte for byte.
No model is known here. `translate` and `serve` use it, and commands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
