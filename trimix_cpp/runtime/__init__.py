"""What the options of a command, and the arguments of `trimix_cpp.load`, mean.

Names become a trio, texts become weights, numbers are checked. Nothing is printed here and no
model is loaded; what a user should know and no error is goes to the log. `commands` and the Python
face import it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
