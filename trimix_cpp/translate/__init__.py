"""Files in, segments through the Decoder, files out."""
