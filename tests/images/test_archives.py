"""Members of archives are inputs like files: in order, one each, whatever is wrong with the archive."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_examples import LOCAL, PICTURES, content, found, inside, outcomes, png, reason, tar, written, zip_of

from vggcli.images.access import Access
from vggcli.images.item import Input, Skipped

KINDS = {
    "tar": lambda: tar(PICTURES),
    "tar.gz": lambda: tar(PICTURES, "w:gz"),
    "tgz": lambda: tar(PICTURES, "w:gz", format=tarfile.PAX_FORMAT),
    "zip": lambda: zip_of(PICTURES, zipfile.ZIP_DEFLATED),
}


def archive(folder: Path, ending: str) -> str:
    return written(folder / f"a.{ending}", KINDS[ending]())


@pytest.mark.parametrize("ending", KINDS)
def test_an_archive_stands_for_the_images_in_it(tmp_path: Path, ending: str) -> None:
    path = archive(tmp_path, ending)
    assert outcomes(path) == inside(path)
    assert not any(item.given for item in found(path))


@pytest.mark.parametrize("ending", KINDS)
def test_a_member_is_opened_by_its_path_alone(tmp_path: Path, ending: str) -> None:
    path = archive(tmp_path, ending)
    for item in reversed(found(path)):
        assert content(Input(item.path)) == PICTURES[str(item.path).partition("::")[2]]
        assert content(pickle.loads(pickle.dumps(item))) == content(item)
    assert content(Input(f"{path}::none.png")) == "missing"
    assert content(Input(f"{tmp_path}/none.{ending}::p/1.png")) == "missing"


@pytest.mark.parametrize("ending", KINDS)
def test_what_was_read_ahead_may_be_read_again(tmp_path: Path, ending: str) -> None:
    (item, *_) = found(archive(tmp_path, ending))
    assert content(item) == content(item) == content(item.detached()) == PICTURES["p/0.png"]


@pytest.mark.parametrize("ending", KINDS)
def test_an_archive_in_a_folder_is_passed_over(tmp_path: Path, ending: str) -> None:
    archive(tmp_path, ending)
    skipped = Skipped()
    assert found(str(tmp_path), skipped=skipped) == []
    assert skipped.files.count == 1


def test_a_folder_may_be_called_like_an_archive(tmp_path: Path) -> None:
    (tmp_path / "a.tar").mkdir()
    path = written(tmp_path / "a.tar" / "b.zip::c.png", png())
    (item,) = found(str(tmp_path / "a.tar"))
    assert item.path == path.replace("::", "\\::")
    assert content(item) == content(Input(item.path)) == png()
    assert content(Input(path)) == "missing"  # a member c.png of an archive b.zip, which is not there


def test_a_url_of_a_file_is_the_file(tmp_path: Path) -> None:
    written(tmp_path / "a b.png", png())
    archive(tmp_path, "tar")
    assert outcomes(f"file://{tmp_path}/a b.png") == [(f"file://{tmp_path}/a b.png", png())]
    assert outcomes(f"file://{tmp_path}") == [(f"file://{tmp_path}/a b.png", png())]
    assert outcomes(f"file://{tmp_path}/a.tar") == inside(f"file://{tmp_path}/a.tar")


def test_shards_come_in_order_and_one_that_is_missing_has_a_row(tmp_path: Path) -> None:
    for number in (8, 10):
        written(tmp_path / f"p-{number:02}.tar", tar({f"{number}.png": png(number)}))
    shards = f"{tmp_path}/p-{{08..10}}.tar"
    paths = [f"{tmp_path}/p-08.tar::8.png", f"{tmp_path}/p-09.tar", f"{tmp_path}/p-10.tar::10.png"]
    assert outcomes(shards) == list(zip(paths, [png(8), "missing", png(10)], strict=True))
    written(Path(shards), tar({"x.png": png()}))
    assert outcomes(shards) == [(f"{shards}::x.png", png())]


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "zip"])
def test_members_are_chosen_as_files_in_a_folder_are(tmp_path: Path, ending: str) -> None:
    members = {"00.jpg": b"", "00.cls": b"7", "00.json": b"{}", ".hidden.png": png(), "d/.e/f.png": png(), "00": png(3)}
    members |= {"__MACOSX/._a.png": b"x", "./b.png": png(4)}
    make = {"tar": tar, "tar.gz": lambda m: tar(m, "w:gz"), "zip": zip_of}[ending]
    path = written(tmp_path / f"a.{ending}", make(members))
    skipped = Skipped()
    items = found(path, skipped=skipped)
    assert [str(item.path).partition("::")[2] for item in items] == ["00.jpg", "00", "./b.png"]
    assert [content(item) for item in items] == ["empty", png(3), png(4)]
    assert skipped.files.count == 2


def test_names_are_labels_and_name_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "secret.png", png(9))
    members = {
        "/etc/passwd.png": png(1),
        "../secret.png": png(2),
        str(tmp_path / "secret.png"): png(3),
        "a::b.png": b"4",
    }
    for ending, make in {"tar": tar, "zip": zip_of}.items():
        path = written(tmp_path / f"a.{ending}", make(members))
        assert outcomes(path) == inside(path, members)
        assert content(Input(f"a.{ending}::../secret.png")) == png(2)
    assert sorted(os.listdir()) == ["a.tar", "a.zip", "secret.png"]


def test_members_of_one_name_are_an_input_each(tmp_path: Path) -> None:
    members = [("a.png", png(1)), ("a.png", png(2))]
    for ending, mode in (("tar", "w"), ("tgz", "w:gz")):
        path = written(tmp_path / f"a.{ending}", tar(members, mode))
        assert outcomes(path) == [(f"{path}::{name}", data) for name, data in members]
        assert content(Input(f"{path}::a.png")) == png(1)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_tar_and_names_of_any_length(tmp_path: Path, format: int) -> None:
    long = "/".join("d" * 30 for _ in range(4)) + "/a.png"
    members = {long: png(1), "b.png": png(2)} | ({} if format == tarfile.USTAR_FORMAT else {"é" * 120 + ".png": png(3)})
    path = written(tmp_path / "a.tar", tar(members, format=format))
    assert outcomes(path) == inside(path, members)


def test_an_empty_archive_is_as_an_empty_folder(tmp_path: Path) -> None:
    skipped = Skipped()
    paths = [written(tmp_path / "a.tar", tar({})), written(tmp_path / "a.zip", zip_of({"a.txt": b"x"}))]
    assert found(*paths, skipped=skipped) == []
    assert skipped.empty_folders == paths
    assert outcomes(written(tmp_path / "b.tar", b"")) == [(str(tmp_path / "b.tar"), "empty")]
    assert outcomes(written(tmp_path / "b.zip", b"")) == [(str(tmp_path / "b.zip"), "empty")]


def test_what_is_no_archive_is_one_failure(tmp_path: Path) -> None:
    for name in ("a.tar", "a.zip", "a.tar.gz"):
        assert outcomes(written(tmp_path / name, b"<html>" * 200)) == [(str(tmp_path / name), "unsupported")]
    (tmp_path / "f.tar").symlink_to(tmp_path / "nowhere")
    assert outcomes(str(tmp_path / "f.tar")) == [(str(tmp_path / "f.tar"), "missing")]
    os.mkfifo(tmp_path / "fifo.tar")
    assert outcomes(str(tmp_path / "fifo.tar")) == [(str(tmp_path / "fifo.tar"), "not-a-file")]


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_tar_that_is_cut_gives_what_is_before_and_one_failure(
    tmp_path_factory: pytest.TempPathFactory, ending: str, share: float
) -> None:
    data = KINDS[ending]()
    end = len(data) if ending == "tar.gz" else 5 * 1024  # the end mark alone may be cut where padding follows it
    size = max(1, int(share * end))
    path = written(tmp_path_factory.mktemp("cut") / f"a.{ending}", data[:size])
    *whole, (last, kind) = outcomes(path)
    assert whole == inside(path)[: len(whole)]
    assert kind == "truncated" or (not whole and kind in ("unsupported", "damaged"))
    assert last in (path, *(name for name, _ in inside(path)[len(whole) :][:1]))


def test_a_cut_says_so_and_a_broken_header_where(tmp_path: Path) -> None:
    data = tar(PICTURES)
    (*_, item) = found(written(tmp_path / "cut.tar", data[:1600]))
    assert item.path == f"{tmp_path}/cut.tar::p/1.png"
    assert "it was cut" in reason(item)
    (_, item) = found(written(tmp_path / "b.tar", data[:1024] + b"x" * 512 + data[1536:]))
    assert (item.path, content(item)) == (f"{tmp_path}/b.tar", "damaged")
    assert "header at byte 1024" in reason(item)


def test_what_is_no_file_has_a_row_where_it_is_called_an_image(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in (
            ("l.png", b"2"),
            ("h.png", b"1"),
            ("d.png", b"3"),
            ("f.png", b"6"),
            ("x.png", b"5"),
            ("l", b"2"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    path = written(tmp_path / "a.tar", file.getvalue())
    assert outcomes(path) == [(f"{path}::{name}.png", "not-a-file") for name in "lhdf"]
    info = zipfile.ZipInfo("l.png")
    info.external_attr, info.create_system = 0o120777 << 16, 3
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(info, "/etc/passwd")
    assert outcomes(str(tmp_path / "a.zip")) == [(f"{tmp_path}/a.zip::l.png", "not-a-file")]


def test_sparse_members_are_refused_and_their_neighbours_read(tmp_path: Path) -> None:
    gnu = tarfile.TarInfo("s.png")
    gnu.type, gnu.size = b"S", 512
    header = bytearray(gnu.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1  # a block with more of the map follows
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    old = bytes(header) + bytes(512) + b"d" * 512
    pax = tarfile.TarInfo("GNUSparseFile.0/t.png")
    pax.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "t.png"}
    new = pax.tobuf(tarfile.PAX_FORMAT)
    path = written(tmp_path / "a.tar", old + new + tar({"a.png": png()}))
    assert outcomes(path) == [
        (f"{path}::s.png", "unsupported"),
        (f"{path}::t.png", "unsupported"),
        (f"{path}::a.png", png()),
    ]


def test_headers_that_claim_what_is_not_there_cost_nothing(tmp_path: Path) -> None:
    longname = tarfile.TarInfo("././@LongLink")
    longname.type, longname.size = b"L", 8 << 30
    huge = tarfile.TarInfo("a.png")
    huge.size = 8 << 40
    negative = bytearray(tarfile.TarInfo("b.png").tobuf())
    negative[124:136] = b"\xff" * 12
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\0 " % sum(negative)
    pax = tarfile.TarInfo("x")
    pax.type, pax.size = b"x", 512
    tracemalloc.start()
    for number, (data, kind) in enumerate(
        {
            longname.tobuf(tarfile.GNU_FORMAT): "damaged",
            huge.tobuf(tarfile.GNU_FORMAT): "truncated",
            bytes(negative): "damaged",
            pax.tobuf() + b"999999 path=x\n".ljust(512, b"\0"): "damaged",
            pax.tobuf() + b"nonsense".ljust(512, b"\0"): "damaged",
            pax.tobuf() + b"12 size=-1x\n".ljust(512, b"\0") + tarfile.TarInfo("a.png").tobuf(): "damaged",
        }.items()
    ):
        for ending, make in (("tar", bytes), ("tgz", gzip.compress)):
            (*_, (_, found_kind)) = outcomes(written(tmp_path / f"{number}.{ending}", make(data)))
            assert found_kind == kind, (number, ending)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_bombs_are_bounded_by_what_is_really_read(tmp_path: Path) -> None:
    zeros = bytes(24 << 20)
    small = Access(max_bytes=1 << 20)
    paths = [
        written(tmp_path / "a.zip", zip_of({"a.png": zeros, "b.png": png()}, zipfile.ZIP_DEFLATED)),
        written(tmp_path / "a.tgz", tar({"a.bin": zeros, "b.png": png()}, "w:gz")),
    ]
    assert outcomes(paths[0]) == [(f"{paths[0]}::a.png", "bomb"), (f"{paths[0]}::b.png", png())]
    assert outcomes(paths[1]) == [(paths[1], "bomb")]
    assert outcomes(paths[0], access=small) == [(f"{paths[0]}::a.png", "too-large"), (f"{paths[0]}::b.png", png())]
    large = written(tmp_path / "b.tgz", tar({"a.png": os.urandom(2 << 20), "b.png": png()}, "w:gz", compresslevel=1))
    assert outcomes(large, access=small) == [(f"{large}::a.png", "too-large"), (f"{large}::b.png", png())]


def test_a_zip_that_lies_is_damaged_where_it_lies(tmp_path: Path) -> None:
    good = zip_of(PICTURES)
    first = good.index(PICTURES["p/0.png"])
    for data, kind in (
        (good[: first + 20] + b"x" + good[first + 21 :], "damaged"),  # the data does not fit its checksum
        (b"XX" + good[2:], "damaged"),  # no member begins there
    ):
        path = written(tmp_path / "a.zip", data)
        assert outcomes(path) == [(f"{path}::p/0.png", kind), *inside(path)[1:]]
    assert outcomes(written(tmp_path / "a.zip", good[:-30])) == [(f"{tmp_path}/a.zip", "truncated")]
    directory = good.index(b"PK\1\2")
    broken = good[:directory] + good[directory:].replace(b"PK\1\2", b"PK\7\7").replace(b"PK\7\7", b"PK\1\2", 2)
    path = written(tmp_path / "b.zip", broken)
    assert outcomes(path) == [*inside(path)[:2], (path, "damaged")]


def test_members_of_a_zip_that_are_not_read_say_why(tmp_path: Path) -> None:
    good = zip_of({"a.png": png(), "b.png": png(1)})
    at = good.index(b"PK\1\2")
    encrypted = good[: at + 8] + struct.pack("<H", 1) + good[at + 10 :]
    other = good[: at + 10] + struct.pack("<H", 99) + good[at + 12 :]
    for data, word in ((encrypted, "encrypted"), (other, "method 99")):
        first, second = found(written(tmp_path / "a.zip", data))
        assert (content(first), content(second)) == ("unsupported", png(1))
        assert word in reason(first)


def test_zips_with_wide_numbers_comments_and_something_before_them(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = b"PK" * 500
        for name, data in PICTURES.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    for name, data in (("a.zip", file.getvalue()), ("b.zip", b"#!/bin/sh\n" * 9 + file.getvalue())):
        path = written(tmp_path / name, data)
        assert outcomes(path) == inside(path)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_whatever_is_wrong_every_archive_ends_and_nothing_else_is_raised(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    ending = data.draw(st.sampled_from(sorted(KINDS)))
    spoilt = bytearray(KINDS[ending]())
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    path = written(tmp_path_factory.mktemp("spoilt") / f"a.{ending}", bytes(spoilt))
    assert len(outcomes(path)) <= 2 * len(PICTURES)


def test_an_archive_that_is_gone_or_another_one_is_told(tmp_path: Path) -> None:
    path = archive(tmp_path, "tar")
    first, second, *_ = found(path)
    written(Path(path), tar({"p/0.png": png(7)}))
    assert content(first) == "vanished"
    assert "changed" in reason(first)
    os.unlink(path)
    assert content(second) == "vanished"


def test_archives_inside_archives_are_no_images(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tar", tar({"b.zip": zip_of(PICTURES), "c.png": png()}))
    skipped = Skipped()
    assert [item.path for item in found(path, skipped=skipped)] == [f"{path}::c.png"]
    assert skipped.files.example == f"{path}::b.zip"


def test_no_file_stays_open_and_no_thread_stays(tmp_path: Path) -> None:
    import threading

    paths = [archive(tmp_path, ending) for ending in KINDS]
    before, threads = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0, set(threading.enumerate())
    items = found(*paths)
    assert len(items) == len(KINDS) * len(PICTURES)
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before
    for thread in set(threading.enumerate()) - threads:  # other tests have some that hang for ever
        thread.join(10)
        assert not thread.is_alive()
    assert content(items[0], LOCAL) == PICTURES["p/0.png"]
