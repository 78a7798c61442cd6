"""TriMix-cpp: three GGUF models of one family, fused token by token for a low-resource language."""

__version__ = "0.1.0"
