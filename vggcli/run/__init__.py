"""Decoding and computing overlapped: images in, results out, in order and in bounded memory."""
