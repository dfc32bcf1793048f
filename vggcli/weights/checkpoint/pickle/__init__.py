"""A pickle as data: its opcodes are followed, and nothing that it names is imported or called."""
