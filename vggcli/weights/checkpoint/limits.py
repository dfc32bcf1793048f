"""What a checkpoint may cost to read, so that a hostile file ends in an error and not in a frozen machine.

Each bound is far above what a real checkpoint needs: vgg16_bn has 4,000 pickle opcodes in 10 KB.
"""

PICKLE_BYTES = 32 << 20  # one pickle; text may take four times this in memory
OPCODES = 500_000  # about a second and 150 MB of small objects in the worst case
STACK_ITEMS = 400_000
MARKS = 10_000  # MARK opcodes open at once
NUMBER_BYTES = 1024  # one integer
NUMBER_DIGITS = 2500  # the same in decimal, below Python's own limit for printing it
LINE_BYTES = 1 << 20  # one text operand of the old protocols
ARGUMENTS = 16  # of one call; rebuild functions take eight at most
COPIED_BYTES = 128 << 20  # what all calls that copy containers and bytes may copy together
NAME_CHARACTERS = 256  # each half of a dotted name
NAMES = 10_000  # distinct globals listed in an error
KEY_CHARACTERS = 4096  # one key of a dict
NUMBER_KEYS = 4096  # entries of a dict or set with keys other than text, whose hashes a file could make collide
LARGEST_KEY = 1 << 60  # above it Python's whole numbers share hashes; optimizers use addresses below 2^48

DEPTH = 100  # containers inside containers; readers of the result may recurse
NODES = 500_000  # values in the result, a shared container counted wherever it appears
DIMENSIONS = 32  # NumPy 1's own limit
REPEATED_ELEMENTS = 1 << 28  # numbers of tensors beyond those in the file, as after expand(): 1 GiB as float32
SHARED = 4  # how many tensors may view the same numbers, as tied weights and averaged copies do

ARCHIVE_DIRECTORY_BYTES = 32 << 20  # the central directory of a zip file
ARCHIVE_MEMBERS = 200_000
SAFETENSORS_HEADER_BYTES = 8 << 20  # about 80,000 tensors
