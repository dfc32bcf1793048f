"""Classify images with the VGG networks of Simonyan and Zisserman from the command line."""

__version__ = "0.1.0"
