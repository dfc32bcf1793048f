"""What a file is, from its first bytes: one of the three formats, or a name for what somebody took for weights."""

from __future__ import annotations

from collections.abc import Collection

from vggcli.images import signatures
from vggcli.weights.checkpoint.pickle.opcodes import OPCODES
from vggcli.weights.checkpoint.problems import DAMAGED, Unreadable, truncated
from vggcli.weights.checkpoint.source import Source

HEAD = 512  # bytes looked at
ZIP = b"PK\3\4"
PICKLE = b"\x80"  # the first opcode since protocol 2
OLD_PICKLE_STARTS = (b"(", b"]", b"}", b"c")  # torch.save never began so, but attacks do
SHORTEST = 16  # bytes; nothing shorter is a checkpoint of any format

EXPORT = "Save the weights with torch.save(model.state_dict(), 'weights.pth') or as safetensors"
DOWNLOAD_AGAIN = "Download the file again, and check the address: open it in a browser to see what the server sends"
UNPACK = "Unpack it and name the weights file inside"
IMAGE = "it is an image"
NAME_WEIGHTS = "Name a .pth, .pt, .bin or .safetensors file"

_REST = "put its weights under torchvision's keys, and save them with torch.save"
MATLAB = ("it is a MATLAB file (.mat), as MatConvNet publishes VGGs", f"Read it with scipy.io.loadmat, {_REST}")
TORCH7 = ("it is a Torch7 file of Lua (.t7)", f"Read it with the package torchfile, {_REST}")
CAFFE = ("it is a Caffe model (.caffemodel)", f"Read it with Caffe, {_REST}")
# Of formats whose first bytes say little; a PyTorch file may well have such a name, so it is looked at last.
ENDINGS = {".mat": MATLAB, ".t7": TORCH7, ".caffemodel": CAFFE}

# what the first bytes match -> what the file is, what to do
OTHERS: list[tuple[bytes, str, str]] = [
    (
        rb"version https://git-lfs|version https://hawser",
        "it is a Git LFS pointer, a few lines that stand for the real file",
        "Run `git lfs pull` in the repository that it comes from",
    ),
    (
        rb"(\xef\xbb\xbf)?\s*<(?i:!doctype|html|head|\?xml|!--|body|svg)",
        "it is an HTML or XML page",
        DOWNLOAD_AGAIN,
    ),
    (
        rb"\s*\{\s*\"",
        "it is JSON text, perhaps a server's error message or a model's configuration",
        DOWNLOAD_AGAIN,
    ),
    (rb"MATLAB [57]\.\d MAT-file", *MATLAB),
    (rb"\x04\0\0\0\x01\0\0\0.\0\0\0(V \d|nn\.)", *TORCH7),
    (rb"\x0a.VGG_", *CAFFE),
    (rb"\x93NUMPY", "it is a NumPy array (.npy)", EXPORT),
    (rb"\x89HDF\r\n\x1a\n", "it is an HDF5 file, as Keras and TensorFlow write (.h5)", EXPORT),
    (rb"\x08[\x02-\x20][\x12\x1a\x22\x28\x32\x3a\x42]", "it is an ONNX model", EXPORT),
    (rb"\x08\x01\x12", "it is a TensorFlow SavedModel", EXPORT),
    (rb".{4}TFL3", "it is a TensorFlow Lite model", EXPORT),
    (rb"GGUF", "it is a GGUF file for language models", NAME_WEIGHTS),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|\x28\xb5\x2f\xfd|Rar!", "it is a compressed archive", UNPACK),
    (rb"BM.{8}", IMAGE, NAME_WEIGHTS),  # BMP; `signatures` knows the others
    (rb"\x7fELF|MZ|#!", "it is a program", NAME_WEIGHTS),
    (rb"%PDF", "it is a PDF document", NAME_WEIGHTS),
    (rb"\0{64}", "its first bytes are all zero, as after an interrupted copy", DAMAGED),
]


def recognise(source: Source) -> str:
    """Return "zip", "legacy" or "safetensors".

    Raises:
        Unreadable: it is none of them; says what it is where that can be told.
    """
    if source.size == 0:
        raise Unreadable("the file is empty")
    head = source.read(0, min(HEAD, source.size))
    if head.startswith(ZIP):
        return "zip"
    # safetensors begins with the header's length: that may look like a pickle (128 is 0x80), but has zeros behind it.
    if head[8:9] == b"{" and not (head.startswith(PICKLE) and any(head[4:8])):
        return "safetensors"
    if head.startswith(PICKLE):
        return "legacy"
    if signatures.is_image(head):
        raise Unreadable(IMAGE, NAME_WEIGHTS)
    import re  # only failures need it, and compiling so many patterns takes time

    for pattern, what, next_step in OTHERS:
        if re.match(pattern, head, re.DOTALL):
            raise Unreadable(what, next_step)
    ending = source.name[source.name.rfind(".") :].lower()
    if ending in ENDINGS:
        raise Unreadable(*ENDINGS[ending])
    if head[257:262] == b"ustar":
        raise Unreadable("it is a tar archive, or a checkpoint of PyTorch 0.1", f"{UNPACK}, or save it again")
    if head[:1] in OLD_PICKLE_STARTS:
        return "legacy"
    if source.size < SHORTEST:
        raise truncated(source.size)
    if head[0] in OPCODES:
        return "legacy"  # most likely a text, but the names that an attack asks for are worth telling
    raise unknown()


def unknown() -> Unreadable:
    """Return the error for a file that is nothing known here."""
    return Unreadable("it is no checkpoint that this tool knows", NAME_WEIGHTS)


def name_archive(names: Collection[str]) -> Unreadable | None:
    """Return the error for a zip file that is a known kind but no torch checkpoint, or None.

    Args:
        names: its members.
    """
    inner = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return Unreadable(
            "it is a TorchScript program, which holds code beside its weights",
            "Save its weights: torch.save(torch.jit.load('model.pt').state_dict(), 'weights.pth')",
        )
    if names and all(name.endswith(".npy") for name in names):
        return Unreadable("it is an archive of NumPy arrays (.npz)", EXPORT)
    if "model.weights.h5" in inner:
        return Unreadable("it is a Keras model (.keras)", EXPORT)
    if "archive_format" in inner or "serialized_exported_program.json" in inner:
        return Unreadable("it is a program of torch.export (.pt2)", EXPORT)
    return None
