"""`vgg list` and `vgg download`: the variants, and their weights in torch hub's cache."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Vgg
from httpserver import FaultServer

from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.store import cache_folder

LISTED = """\
vgg11	132863336	506.8	69.02	88.63	vgg11-8a719046.pth	no
vgg11_bn	132868840	506.9	70.37	89.81	vgg11_bn-6002323d.pth	no
vgg13	133047848	507.5	69.93	89.25	vgg13-19584684.pth	no
vgg13_bn	133053736	507.6	71.59	90.37	vgg13_bn-abd245e5.pth	no
vgg16	138357544	527.8	71.59	90.38	vgg16-397923af.pth	no
vgg16_bn	138365992	527.9	73.36	91.52	vgg16_bn-6c64b313.pth	no
vgg19	143667240	548.1	72.38	90.88	vgg19-dcbb9e9d.pth	no
vgg19_bn	143678248	548.1	74.22	91.84	vgg19_bn-c79401a0.pth	no
demo	350826	0.7			demo	built in
"""


def in_cache(name: str, data: bytes = b"weights") -> Path:
    path = cache_folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def mirror() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


# list


@pytest.mark.usefixtures("no_sockets")
def test_every_variant_is_listed(vgg: Vgg) -> None:
    output = vgg("list")

    assert (output.code, output.out, output.err) == (0, LISTED, "")


def test_what_is_in_the_cache_is_marked(vgg: Vgg) -> None:
    path = in_cache("vgg13-19584684.pth")
    in_cache("vgg16-397923af.pth", b"")  # nothing in it: no weights
    cached = [line.split("\t")[0] for line in vgg("list").out.splitlines() if line.endswith("\tyes")]
    entries = {entry["variant"]: entry for entry in json.loads(vgg("list", "-f", "json").out)["variants"]}

    assert cached == ["vgg13"]
    assert entries["vgg13"]["cached"] == str(path)
    assert entries["vgg16"]["cached"] is None
    assert entries["demo"]["cached"] == str(DEMO_FILE)


def test_the_table_fits_a_terminal_of_80_columns(vgg: Vgg) -> None:
    lines = vgg("list", "-f", "table", env={"COLUMNS": "80"}).out.splitlines()

    assert lines[0] == f"cache       {cache_folder()}"
    assert lines[1].startswith("demo        a small digit classifier that ships with vgg")
    assert lines[2].split("  ")[0] == "variant"
    assert [line.split()[0] for line in lines[3:]] == [line.split("\t")[0] for line in LISTED.splitlines()]
    assert max(len(line) for line in lines[2:]) <= 80


def test_json_holds_exact_figures_and_addresses(vgg: Vgg) -> None:
    data = json.loads(vgg("list", "-f", "json").out)
    by_name = {entry["variant"]: entry for entry in data["variants"]}

    assert data["cache"] == str(cache_folder())
    assert by_name["vgg16_bn"] == {
        "variant": "vgg16_bn",
        "configuration": "D",
        "parameters": 138_365_992,
        "size_mib": 527.866,
        "top1": 73.36,
        "top5": 91.516,
        "weights": "vgg16_bn-6c64b313.pth",
        "url": "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
        "cached": None,
    }
    assert (by_name["demo"]["top1"], by_name["demo"]["url"]) == (None, None)


def test_the_listed_size_of_the_demo_is_its_files(vgg: Vgg) -> None:
    demo = json.loads(vgg("list", "-f", "json").out)["variants"][-1]

    assert demo["size_mib"] == pytest.approx(DEMO_FILE.stat().st_size / 2**20, abs=0.05)
    assert DEMO_FILE.stat().st_size < 1_000_000


# download


@pytest.mark.usefixtures("no_sockets")
def test_what_is_cached_is_printed_and_not_fetched(vgg: Vgg) -> None:
    paths = [in_cache(name) for name in ("vgg19-dcbb9e9d.pth", "vgg11-bbd30ac9.pth", "vgg16_bn-6c64b313.pth")]
    output = vgg("download", "VGG19", "vgg11-bbd30ac9", "vgg16_bn")

    assert (output.code, output.err) == (0, "")
    assert output.out == "".join(f"{path}\n" for path in paths)
    assert vgg("download").out == f"{paths[2]}\n"
    assert vgg("download", "demo").out == f"{DEMO_FILE}\n"


@pytest.mark.usefixtures("no_sockets")
def test_offline_opens_no_socket_and_says_where_the_file_belongs(vgg: Vgg) -> None:
    output = vgg("download", "--offline", "vgg13_bn")

    assert (output.code, output.out) == (3, "")
    assert output.err == (
        "vgg: cannot download https://download.pytorch.org/models/vgg13_bn-abd245e5.pth: --offline forbids it, and the "
        "file is not in the cache. Leave --offline out, or fetch the file in another way and save it as "
        f"{cache_folder() / 'vgg13_bn-abd245e5.pth'}.\n"
    )


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_mirrors_file_with_another_hash_is_refused(how: str, mirror: FaultServer, vgg: Vgg) -> None:
    url = mirror.add(b"\x80\x02 other weights", "vgg/vgg16-397923af.pth")
    address = f"{mirror.url}/vgg"
    options, env = (["--mirror", f"{address}/"], {}) if how == "option" else ([], {"VGG_MIRROR": address})
    output = vgg("download", *options, "vgg16", env=env)

    assert (output.code, output.out) == (3, "")
    assert url in output.err
    assert "397923af" in output.err
    assert str(cache_folder() / "vgg16-397923af.pth") in output.err
    assert not (cache_folder() / "vgg16-397923af.pth").exists()
    assert len(mirror.requests) == 1


def test_a_mirror_without_the_file_is_explained(mirror: FaultServer, vgg: Vgg) -> None:
    output = vgg("download", "--mirror", mirror.url, "vgg11")

    assert (output.code, output.out) == (3, "")
    assert output.err.startswith(f"vgg: cannot download {mirror.url}/vgg11-8a719046.pth: ")
    assert "404" in output.err


@pytest.mark.usefixtures("no_sockets")
def test_a_mirror_that_is_no_address_is_wrong_usage(vgg: Vgg) -> None:
    output = vgg("download", "--mirror", "ftp://mirror", "vgg11")

    assert (output.code, output.out) == (2, "")
    assert output.err.startswith("vgg: cannot use the mirror ftp://mirror: it is not an http:// or https:// URL. ")


@pytest.mark.usefixtures("no_sockets")
def test_an_unknown_name_is_wrong_usage(vgg: Vgg) -> None:
    output = vgg("download", "vgg12")

    assert (output.code, output.out) == (2, "")
    assert output.err == (
        "vgg: unknown architecture vgg12: no such variant. The nearest names are vgg19, vgg16, vgg13.\n"
    )


def test_predict_uses_what_download_fetched(vgg: Vgg, tmp_path: Path) -> None:
    """Through the same cache: a file there that is no checkpoint is found by both, and read by the one."""
    path = in_cache("vgg16-397923af.pth", b"<html>")
    output = vgg("predict", "--arch", "vgg16", tmp_path / "x.png")

    assert vgg("download", "vgg16").out == f"{path}\n"
    assert (output.code, output.out) == (3, "")
    assert output.err.startswith(f"vgg: cannot read weights {path}: it is an HTML or XML page.")
