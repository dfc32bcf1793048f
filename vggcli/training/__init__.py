"""Finetuning: from labelled images and a network to weights of one's own classes.

A split, features kept on disk, one loop for the last layer and for more of the network, checkpoints, the file.
"""
