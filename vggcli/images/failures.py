"""The kinds of failure of one input, as they stand in the records."""

from __future__ import annotations

KINDS = {
    "missing": "no such file",
    "vanished": "found in a folder, gone when it was opened",
    "permission": "not readable for this user",
    "not-a-file": "a folder, FIFO, socket or device",
    "empty": "no bytes",
    "unsupported": "not an image, or of a format that is not decoded",
    "truncated": "the image data ends early",
    "damaged": "the image data is broken",
    "bomb": "more pixels than --max-pixels, or more rows or scans than anybody writes",
    "too-large": "more bytes than --max-bytes",
    "unreadable": "the system could not read the file",
    "timeout": "decoding took too long",
    "network": "the object behind the address could not be fetched",
    "memory": "not enough memory for one image",
    "crashed": "decoding it ended its process, twice",
    "model": "the network gave no number for it",
}
