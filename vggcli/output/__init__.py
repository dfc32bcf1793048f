"""Records to files and streams: whole, in order, resumable."""
