"""What a small hostile file may cost: memory while it is decoded and after it failed, passes over it, and time."""

from __future__ import annotations

import gc
import io
import struct
import subprocess
import sys
import threading
import weakref
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from image_examples import failure, gradient, load, noise, saved
from PIL import Image, ImageFile
from PIL._util import DeferredError

from vggcli.errors import InputError
from vggcli.images import decode as decoding_module
from vggcli.images.attempt import Attempt, GivenUpError
from vggcli.images.budget import Budget, decoding_bytes
from vggcli.images.decode import Decoded, Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.images.limits import MAX_SCANS, MAX_SEGMENTS
from vggcli.images.recipe import Recipe

PATIENCE = 60  # seconds


def segment(code: int, body: bytes) -> bytes:
    return bytes((0xFF, code)) + struct.pack(">H", len(body) + 2) + body


def scans(count: int, side: int = 64, *, sof: int = 0xC2, between: bytes = b"") -> bytes:
    """A grey JPEG of empty refinements, each of which is a pass over the whole picture."""
    table = bytes((1, *[0] * 15))
    blocks = ((side + 7) // 8) ** 2
    bits = ("0" + "1" * 14) * -(-blocks // 32767)
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    start = segment(0xDB, bytes((0, *[1] * 64))) + segment(sof, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    tables = segment(0xC4, b"\x00" + table + b"\x00") + segment(0xC4, b"\x10" + table + b"\xe0")
    one = segment(0xDA, b"\1\1\0" + bytes((1, 63, 0))) + data
    return b"\xff\xd8" + start + tables + between.join([one] * count) + b"\xff\xd9"


def outcome(data: bytes, **options: object) -> str:
    try:
        ImageLoader(Decoding(**options)).load(Input(None, content=data))  # type: ignore[arg-type]
    except InputError as error:
        return f"{error.kind}: {error.why}"
    return "ok"


# Scans


def test_a_jpeg_of_more_scans_than_anybody_writes_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert outcome(scans(MAX_SCANS)) == "ok"
    monkeypatch.setattr(decoding_module, "identify", lambda stream: pytest.fail("it was opened"))
    assert outcome(scans(MAX_SCANS + 1)) == f"bomb: it has more than {MAX_SCANS} scans"


@pytest.mark.parametrize(
    "between",
    [
        segment(0xFE, b"\xff\xd9 a comment with an end in it"),
        segment(0xE1, bytes(70)),
        b"\xff\xff\xff",
        b"\xff\xd0",
        b"\xff\x01\xff\0",
        b"rubbish",
        segment(0xFE, bytes(65533)),
    ],
)
def test_scans_cannot_be_hidden_between_segments(between: bytes) -> None:
    assert outcome(scans(MAX_SCANS + 1, between=between)).startswith("bomb")


def test_a_scan_named_in_a_comment_is_none() -> None:
    assert (
        outcome(scans(1, between=b"").replace(b"\xff\xdb", segment(0xFE, b"\xff\xda" * 500) + b"\xff\xdb", 1)) == "ok"
    )


def test_behind_a_baseline_photo_whatever_stands_is_not_counted() -> None:
    photo = saved(gradient(), "JPEG")
    assert outcome(photo + b"\xff\xda\0\x08" * 500) == "ok"


def test_more_segments_than_anybody_writes_are_refused() -> None:
    photo = saved(gradient(), "JPEG")
    many = photo[:2] + segment(0xFE, b"") * (MAX_SEGMENTS + 1) + photo[2:]
    assert outcome(many) == f"bomb: it has more than {MAX_SEGMENTS} segments"


@pytest.mark.parametrize("shift", range(4))
def test_markers_are_found_across_the_pieces_that_a_file_is_read_in(shift: int) -> None:
    """A scan's data of about a piece's length moves the next marker over every place around the border."""
    entropy = b"\xff\0" * 32_000 + b"\0" * (65536 - 64_000 - 30)
    for more in range(0, 60, 4):
        data = scans(MAX_SCANS + 1, between=entropy + bytes(more + shift))
        assert outcome(data).startswith("bomb"), more


def test_a_jpeg_in_a_blp_is_counted_too() -> None:
    header = b"BLP1" + struct.pack("<iIIIiI", 0, 0, 64, 64, 0, 0)
    assert outcome(header + scans(MAX_SCANS + 1)) == f"bomb: it has more than {MAX_SCANS} scans"


# Bytes and rows


def test_a_file_of_more_bytes_than_allowed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(gradient(), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    assert load(tmp_path / "a.png", max_bytes=len(data)).shape == (224, 224, 3)
    error = failure(tmp_path / "a.png", max_bytes=len(data) - 1)
    assert (error.kind, error.why) == ("too-large", f"it has more than {len(data) - 1} bytes")
    assert outcome(data, max_bytes=10) == "too-large: it has more than 10 bytes"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(InputError, match="more than 10 bytes"):
        ImageLoader(Decoding(max_bytes=10)).load(Input("-", is_stdin=True))


def test_the_limit_of_bytes_stands_in_the_provenance() -> None:
    assert Decoding(max_bytes=9).describe() == "squash 224, at most 9 bytes"


def test_a_picture_of_millions_of_rows_is_refused_for_what_its_rows_take() -> None:
    data = b"P5 1 30000000 255\n"
    assert outcome(data) == "bomb: it has more than 22369621 rows"
    assert outcome(saved(noise(1, 2000), "PNG"), max_pixels=2000) == "ok"


# Memory


PROGRAM = """
import sys
from vggcli.images.decode import Decoded, Decoding, ImageLoader
from vggcli.images.discover import Input
from PIL import Image
Image.init()
def resident(field):
    return int(open("/proc/self/status").read().split(field + ":")[1].split()[0]) >> 10
loader = ImageLoader(Decoding())
for path in sys.argv[1:]:
    open("/proc/self/clear_refs", "w").write("5")
    base = resident("VmRSS")
    loader.load(Input(path))
    print(resident("VmHWM") - base)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to tell the peak of memory")
def test_numbers_become_grey_without_a_whole_picture_of_large_numbers(tmp_path: Path) -> None:
    """16 megapixels: as 64-bit numbers alone they would take 128 MB, and as RGB 64."""
    flat = np.zeros((4000, 4000), np.uint16)
    Image.fromarray(flat).save(tmp_path / "a.png")
    Image.fromarray(flat.astype(np.float32)).save(tmp_path / "b.tif")
    Image.fromarray(flat.astype(np.int32)).save(tmp_path / "c.tif")
    command = [sys.executable, "-c", PROGRAM, *(str(tmp_path / name) for name in ("a.png", "b.tif", "c.tif"))]
    words, floats, integers = map(int, subprocess.run(command, capture_output=True, check=True).stdout.split())
    assert words < 100
    assert floats < 140
    assert integers < 140


BROKEN_BLP = b"BLP2" + struct.pack("<iBBBBII", 1, 1, 0, 0, 0, 64, 64) + bytes(128)
FAILING = {
    "BLP": BROKEN_BLP + bytes(100),
    "JPEG": saved(noise(300, 200), "JPEG")[:9000],
    "PNG": saved(noise(300, 200), "PNG")[:9000],
    "GIF": saved(noise(300, 200), "GIF")[:9000],
}


@pytest.mark.parametrize("data", FAILING.values(), ids=FAILING)
def test_a_failed_picture_is_gone_when_its_error_is_there(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the help of the collector of cycles, which may come late."""
    cores: list[object] = []
    original = decoding_module.truncated.load

    def seen(picture: Image.Image, *rest: object) -> bool:
        try:
            return original(picture, *rest)  # type: ignore[arg-type]
        finally:
            cores.append(weakref.ref(picture))

    monkeypatch.setattr(decoding_module.truncated, "load", seen)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(InputError) as caught:
            ImageLoader(Decoding()).load(Input(None, content=data))
        pictures = [core() for core in cores]  # type: ignore[operator]
    finally:
        gc.enable()
    assert caught.value.kind in ("truncated", "damaged")
    assert cores
    for picture in pictures:
        assert picture is None or isinstance(picture._im, DeferredError)


# One budget


def test_a_larger_picture_waits_for_the_others_and_the_next_behind_it() -> None:
    budget = Budget(100)
    held: list[int] = []

    def take(nbytes: int) -> None:
        with budget.reserve(nbytes, Attempt()):
            held.append(sum(budget._held.values()))

    with budget.reserve(60, Attempt()):
        threads = [threading.Thread(target=take, args=(nbytes,)) for nbytes in (500, 50, 90)]
        for thread in threads:
            thread.start()
        assert held == [], "none has room beside it"
    for thread in threads:
        thread.join(PATIENCE)
    assert len(held) == 3
    assert all(total in (500, 50, 90) for total in held)
    assert not budget._held


def test_what_was_given_up_makes_room_at_once() -> None:
    budget, stuck = Budget(100), Attempt()
    with budget.reserve(100, stuck):
        stuck.give_up()
        with budget.reserve(100, Attempt()):
            assert stuck not in budget._held


def test_the_time_that_an_image_waits_for_memory_is_not_its_own() -> None:
    clock = [0.0]
    attempt, budget = Attempt(lambda: clock[0]), Budget(100)
    attempt.begin()
    clock[0] = 50.0
    with budget.reserve(10, attempt):
        assert attempt.started == 50.0


def test_an_attempt_that_holds_something_does_not_queue_behind_others_for_more() -> None:
    budget, attempt = Budget(100), Attempt()
    with budget.reserve(60, attempt):
        budget._queue.append(Attempt())  # waits for this one to end
        with budget.reserve(200, attempt):
            assert budget._held == {attempt: 200}


@pytest.mark.parametrize("way", ["file", "bytes"])
def test_a_decoder_that_was_given_up_ends_at_its_next_read(tmp_path: Path, way: str) -> None:
    data = saved(noise(400, 400), "BMP")
    (tmp_path / "a.bmp").write_bytes(data)

    class Late(Attempt):
        """Given up as soon as it begins."""

        def begin(self) -> None:
            super().begin()
            self.give_up()

    item = Input(str(tmp_path / "a.bmp")) if way == "file" else Input(None, content=data)
    with pytest.raises(InputError) as caught:
        ImageLoader(Decoding()).load(item, Late())
    assert isinstance(caught.value.__cause__, GivenUpError)


def test_what_decoding_takes_is_told_from_the_header(tmp_path: Path) -> None:
    """Within a factor: it is the sum over decoders that must hold."""
    pixels = 200 * 100

    def told(data: bytes) -> float:
        return decoding_bytes(Image.open(io.BytesIO(data))) / pixels

    picture = noise(200, 100)
    exif = Image.Exif()
    exif[0x112] = 6
    assert 4 <= told(saved(picture, "JPEG")) < 5
    assert 10 <= told(saved(picture, "JPEG", progressive=True)) < 11
    assert 8 <= told(saved(picture, "JPEG", exif=exif)) < 9
    assert 1 <= told(saved(picture.convert("L"), "PNG")) < 2
    assert 8 <= told(saved(picture.convert("RGBA"), "PNG")) < 9
    assert 3 <= told(saved(Image.new("I;16", (200, 100)), "PNG")) < 4
    assert 12 <= told(saved(picture, "WEBP")) < 13
    assert 16 <= told(saved(picture, "JPEG2000")) < 17


@pytest.mark.parametrize(
    ("size", "recipe", "least"),
    [
        ((1, 1300), Recipe(resize="crop"), 340e6),  # enlarged to 256 x 332,800
        ((1300, 1), Recipe(resize="crop"), 340e6),
        ((20_000_000, 1), Recipe(), 400e6),  # 80 MB of pixels, and a weight of each for both its neighbours
        ((20_000_000, 1), Recipe(resize="letterbox", interpolation="lanczos"), 1000e6),
        ((400, 300), Recipe(), 0),
    ],
    ids=["tall", "wide", "weights", "lanczos", "photo"],
)
def test_what_resizing_takes_is_in_the_budget(size: tuple[int, int], recipe: Recipe, least: float) -> None:
    wanted: list[int] = []

    class Asked(Budget):
        def reserve(self, nbytes: int, attempt: Attempt) -> AbstractContextManager[None]:
            wanted.append(nbytes)
            raise MemoryError

    data = saved(Image.new("1", size), "PNG")
    for content in (data, Image.open(io.BytesIO(data))):
        with pytest.raises(InputError, match="not enough memory"):
            ImageLoader(Decoding(recipe), budget=Asked()).load(Input(None, content=content))
    assert all(least <= nbytes < 1.5 * least + 2e6 for nbytes in wanted)
    assert len(wanted) == 2


def test_what_is_too_large_enlarged_is_refused_from_the_header() -> None:
    decoded: list[object] = []

    class Looked(ImageLoader):
        def elsewhere(self, picture: ImageFile.ImageFile) -> Decoded | None:
            decoded.append(picture)
            return None

    data = saved(Image.new("1", (1, 60_000)), "PNG")
    with pytest.raises(InputError, match="enlarging it takes more than 89478485 pixels"):
        Looked(Decoding(Recipe(resize="crop"))).load(Input(None, content=data))
    assert not decoded


def test_small_boxes_without_end_are_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    from vggcli.images import signatures

    reads = [0]

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            reads[0] += 1
            return super().read(size)

    data = b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + b"\0\0\0\x08free" * 100_000 + b"\0"
    assert not signatures.ends_early(Counting(data))
    assert reads[0] < 2 * MAX_SEGMENTS
