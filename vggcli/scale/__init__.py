"""The same classifier over a cluster: blocks of consecutive inputs, one output shard for each, and one file of them.

Ray is imported by `cluster` and `waves` alone; everything else here works in any process.
"""
