"""The command line itself: parsing, help, what a person reads on a terminal."""
