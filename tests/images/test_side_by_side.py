"""Loaders with different settings beside each other and beside a host program: nobody's settings are anybody else's."""

from __future__ import annotations

import io
import subprocess
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
from image_examples import gradient, noise, saved
from PIL import EpsImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from vggcli.errors import InputError
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.images.process import own_process
from vggcli.images.recipe import Recipe

PHOTO = saved(noise(60, 40), "PNG")
CUT = {"png": PHOTO[:-200], "jpeg": saved(noise(60, 40), "JPEG")[:900]}
MODULES = (Image, ImageFile, EpsImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin)


def outcome(loader: ImageLoader, data: bytes) -> str:
    try:
        loader.load(Input(None, content=data))
    except InputError as error:
        return error.kind
    return "ok"


def switches(module: ModuleType) -> dict[str, object]:
    """The settings of a module: its public names that hold plain values."""
    simple = (bool, int, float, str, bytes, type(None))
    return {name: value for name, value in vars(module).items() if name[0] != "_" and isinstance(value, simple)}


def settings() -> tuple[object, ...]:
    """What a host program has set, and could miss."""
    return [switches(module) for module in MODULES], list(warnings.filters), warnings.showwarning


def iptc(content: bytes) -> bytes:
    """An IPTC file that wraps another, which Pillow would open as what it is."""

    def field(record: int, dataset: int, data: bytes) -> bytes:
        return bytes([0x1C, record, dataset]) + len(data).to_bytes(2, "big") + data

    fields = [(3, 60, b"\1\0"), (3, 20, b"\0\x32"), (3, 30, b"\0\x32"), (3, 120, b"\5"), (8, 10, content)]
    return b"".join(field(*each) for each in fields)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\nshowpage\n%%EOF\n"


def test_the_limits_of_loaders_in_many_threads_are_their_own() -> None:
    limits = [1, 2399, 2400, 10**9] * 50
    loaders = {limit: ImageLoader(Decoding(max_pixels=limit)) for limit in limits}
    with ThreadPoolExecutor(8) as pool:
        kinds = list(pool.map(lambda limit: outcome(loaders[limit], PHOTO), limits))
    assert kinds == ["bomb", "bomb", "ok", "ok"] * 50


def test_building_and_using_loaders_leaves_the_process_as_it_was() -> None:
    Image.init()  # registers plugins, as any use of Pillow does
    before = settings()
    inputs = [
        PHOTO,
        *CUT.values(),
        b"no image",
        EPS,
        iptc(EPS),
        saved(noise(60, 40), "TIFF", compression="tiff_lzw"),
        saved(noise(64, 64), "ICO"),
    ]
    decodings = [
        Decoding(max_pixels=10),
        Decoding(max_pixels=10**10, allow_truncated=True),
        Decoding(recipe=Recipe(resize="crop"), exif=False, fast=True),
    ]
    kinds = {outcome(ImageLoader(decoding), data) for decoding in decodings for data in inputs}
    assert {"ok", "bomb", "unsupported", "truncated"} <= kinds
    assert settings() == before


@pytest.mark.parametrize("data", [PHOTO, *CUT.values()], ids=["whole", *CUT])
def test_another_thread_sees_no_other_settings_while_an_image_is_decoded(
    monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    before, seen = settings(), []
    prepare = ImageFile.ImageFile.load_prepare

    with ThreadPoolExecutor(1) as other:

        def watched(picture: ImageFile.ImageFile) -> None:
            seen.append(other.submit(settings).result())
            prepare(picture)

        monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", watched)
        assert outcome(ImageLoader(Decoding(max_pixels=5000, allow_truncated=True)), data) == "ok"
    assert seen
    assert all(one == before for one in seen)


def test_a_host_that_makes_errors_of_warnings_and_allows_few_pixels_is_no_hindrance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for format in ("JPEG", "PNG", "GIF", "BMP", "PPM", "TGA"):
            assert outcome(ImageLoader(Decoding()), saved(gradient(60, 40), format)) == "ok", format


def test_a_host_without_any_limit_does_not_lift_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert outcome(ImageLoader(Decoding(max_pixels=2399)), PHOTO) == "bomb"
    assert outcome(ImageLoader(Decoding(max_pixels=2400)), PHOTO) == "ok"


def icon(width: int, height: int, inside: bytes) -> bytes:
    """An ICO that claims a size and holds a picture of perhaps another."""
    directory = (
        bytes([width, height, 0, 0, 1, 0, 32, 0]) + len(inside).to_bytes(4, "little") + (22).to_bytes(4, "little")
    )
    return b"\0\0\1\0\1\0" + directory + inside


@pytest.mark.filterwarnings("ignore:Image was not the expected size")
def test_an_icon_is_as_large_as_what_it_holds() -> None:
    data = icon(16, 16, PHOTO)
    assert outcome(ImageLoader(Decoding(max_pixels=2400)), data) == "ok"
    assert outcome(ImageLoader(Decoding(max_pixels=2399)), data) == "bomb"


def test_pillows_limit_for_what_lies_inside_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError) as caught:
        ImageLoader(Decoding()).load(Input(None, content=icon(16, 16, PHOTO)))
    assert (caught.value.kind, caught.value.why) == ("bomb", "it has more than the 200 pixels that Pillow allows here")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every program that is started meanwhile."""
    programs: list[object] = []

    def start(*arguments: object, **_: object) -> None:
        programs.append(arguments)
        raise OSError("no program is started here")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")  # as on a machine that has it
    return programs


def test_no_program_is_started_for_a_wrapped_eps_in_a_host_that_has_ghostscript(started: list[object]) -> None:
    with pytest.raises(OSError, match="no program"), Image.open(io.BytesIO(iptc(EPS))) as trap:
        trap.load()
    assert started.pop(), "the trap is one"
    assert outcome(ImageLoader(Decoding()), iptc(EPS)) == "unsupported"
    assert outcome(ImageLoader(Decoding()), EPS) == "unsupported"
    assert started == []


# A process of our own


@pytest.fixture
def unusual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")


@pytest.mark.usefixtures("unusual")
def test_the_commands_settings_hold_while_it_runs_and_no_longer() -> None:
    before = settings()
    seen: list[object] = []

    def interrupted() -> None:
        with own_process(1001):
            seen.extend([Image.MAX_IMAGE_PIXELS, EpsImagePlugin.gs_binary])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert seen == [501, False]
    assert settings() == before


@pytest.mark.parametrize(("max_pixels", "kind"), [(2400, "ok"), (2399, "bomb"), (1, "bomb")])
def test_in_our_own_process_pictures_inside_are_held_against_the_limit_and_nothing_warns(
    max_pixels: int, kind: str
) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with own_process(max_pixels):
            assert outcome(ImageLoader(Decoding(max_pixels=max_pixels)), icon(16, 16, PHOTO)) == kind
    assert warned == []
