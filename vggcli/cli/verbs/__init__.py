"""One verb a module, with the options that are its own: parse, call one function, exit code.

Each has a function `command`, from which Typer makes the command; it is imported when the verb is asked for.
"""
