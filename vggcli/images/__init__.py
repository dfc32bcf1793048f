"""From what a person names to pixels: finding, opening, decoding, resizing."""
