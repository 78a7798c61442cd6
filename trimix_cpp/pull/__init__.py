"""From the Hugging Face Hub to this machine: downloads that go on, and what is made of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
