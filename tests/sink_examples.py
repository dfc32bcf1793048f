"""Records and settings that the tests of the writers share."""

from __future__ import annotations

from vggcli.records import Failure, Prediction, Record, Settings

SETTINGS = Settings(
    version="1.2.3",
    weights="vgg16_bn-6c64b313.pth",
    weights_fingerprint="sha256:6c64b313",
    variant="vgg16_bn",
    dialect="torchvision",
    preprocessing="squash 224",
    labels="0123456789abcdef",
    engine="torch",
    device="cpu",
    precision="fp32",
    top_k=2,
)

GOOD = Record("a.jpg", (Prediction(1, 258, "Samoyed", 0.87324567), Prediction(2, 104, "=HYPERLINK(1)", 1e-7)))
BAD = Record("b\t\n.jpg", failure=Failure("empty", "no bytes"))
CUT = Record(
    "d/é\udcff\x1b[31m.jpg", (Prediction(1, 0, 'tench, "Tinca"', 1.0), Prediction(2, 1, "x", 0.0)), truncated=True
)
RECORDS = (GOOD, BAD, CUT)
