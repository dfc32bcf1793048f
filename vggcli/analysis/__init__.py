"""What can be told from a weights file or from a network without running it."""
