"""Makes the demo: `python -m tools.train_demo` trains the small VGG on handwritten digits and writes what ships.

`digits` holds the data, `variation` what is done to them, `train` the rest.
"""
