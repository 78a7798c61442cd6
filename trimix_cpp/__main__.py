"""`python -m trimix_cpp` is `trimix-cpp`."""

from .commands import run

run()
