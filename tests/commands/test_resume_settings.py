"""Which settings of a run of `vgg predict` must be the same to go on with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Vgg
from predict_examples import DIGITS as FOLDER

from vggcli import classifier
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.nvjpeg import DeviceImageLoader
from vggcli.library.settings import Settings

DIGITS = sorted(FOLDER.iterdir())


class OnDevice(ImageLoader):
    """Stands in for the one that needs a CUDA device."""

    def describe(self) -> str:
        return DeviceImageLoader(self.decoding, "cuda:0").describe()


def device_loader(decoding: Decoding, settings: Settings) -> ImageLoader:
    return OnDevice(decoding)


def test_another_version_device_or_file_name_goes_on(vgg: Vgg, tmp_path: Path) -> None:
    output, sidecar = tmp_path / "out.tsv", tmp_path / "out.tsv.vgg.json"
    assert vgg("predict", "-w", "demo", "-o", output, *DIGITS[:2]).code == 0
    begun = json.loads(sidecar.read_text()) | {"version": "0.0.1", "device": "cuda:7", "weights": "renamed.pth"}
    sidecar.write_text(json.dumps(begun))
    done = vgg("predict", "-w", "demo", "-o", output, "--resume", *DIGITS[:3])
    assert (done.code, "1 ok, 2 kept from before" in done.err) == (0, True), done
    assert json.loads(sidecar.read_text()) == begun


def test_images_decoded_on_a_device_are_not_mixed_with_others(
    vgg: Vgg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its decoder rounds differently; the name of the device alone no longer tells."""
    arguments = ("predict", "-w", "demo", "--fast-decode", "-o", tmp_path / "out.tsv", *DIGITS[:2])
    with monkeypatch.context() as patch:
        patch.setattr(classifier, "_loader", device_loader)
        assert vgg(*arguments).code == 0
    refused = vgg(*arguments, "--resume")
    assert refused.code == 2
    assert "fast decode, decoded on the device', this run's is" in refused.err
