"""What a VGG is: its layers as data, the published variants, the classes' names, and the same network in torch."""
