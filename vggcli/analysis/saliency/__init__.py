"""Where in an image the network finds a class: maps by Grad-CAM, Grad-CAM++ and plain gradients.

What asks for no more than the gradient of the classifier is NumPy on the outputs of any engine; the rest is torch's.
"""
