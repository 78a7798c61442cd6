"""Named quantization choices for the roles of a trio; `trimix_cpp.profiles` reads them."""
