"""A loaded trio for other programs: OpenAI's and LibreTranslate's protocols over HTTP.

One thread owns the models and steps the texts of all requests (`engine`); an event loop speaks
with the clients. It needs the extra `serve`. Only `commands` imports it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
