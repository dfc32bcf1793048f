"""What bf16 does to networks without batch norm: `python -m tools.measure_bf16` trains some and measures them.

`pictures` holds what they learn from, `networks` which they are and how they are trained, `__main__` the table.
"""
