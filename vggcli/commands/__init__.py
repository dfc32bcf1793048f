"""The verbs of the command line, one a module: from options to results and an exit code."""
