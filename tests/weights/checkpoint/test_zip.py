"""The zip format: whatever torch writes is read, and an archive that contradicts itself is an error, never a guess."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_examples import FLOATS, ID, TENSOR, CountingSource, leaves, numbers, problem, save, torch_zip

from vggcli.errors import CheckpointError
from vggcli.weights.checkpoint import FileSource, Opaque, open_checkpoint, read_checkpoint

GOOD = torch_zip(TENSOR + b".")
LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"


def read(data: bytes, path: Path) -> np.ndarray:
    path.write_bytes(data)
    with open_checkpoint(path) as checkpoint:
        (array,) = numbers(checkpoint)
        return array


def patched(data: bytes, signature: bytes, nth: int, offset: int, value: bytes) -> bytes:
    """Overwrite a field of the nth record with a signature."""
    at = -1
    for _ in range(nth + 1):
        at = data.index(signature, at + 1)
    return data[: at + offset] + value + data[at + offset + len(value) :]


def test_the_hand_written_example_is_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(GOOD, tmp_path / "w"), np.arange(6, dtype=np.float32).reshape(2, 3))


@pytest.mark.parametrize("top", ["archive", "vgg16_bn-6c64b313", "a b.c", "модель"])
def test_the_top_folder_may_have_any_name(top: str, tmp_path: Path) -> None:
    assert read(torch_zip(TENSOR + b".", top=top), tmp_path / "w")[1, 2] == 5


def test_torchs_own_extra_records_are_ignored(tmp_path: Path) -> None:
    data = torch_zip(
        TENSOR + b".",
        ("byteorder", b"little"),
        (".format_version", b"1"),
        (".storage_alignment", b"64"),
        ("version", b"3\n"),
        (".data/serialization_id", b"1" * 40),
    )
    assert read(data, tmp_path / "w")[1, 2] == 5


def test_big_endian_numbers_are_swapped(tmp_path: Path) -> None:
    swapped = np.arange(6, dtype=">f4").tobytes()
    array = read(torch_zip(TENSOR + b".", ("byteorder", b"big"), storage=swapped), tmp_path / "w")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array.ravel(), np.arange(6))


@pytest.mark.parametrize("mark", [b"middle", b"", b"x" * 1000])
def test_an_unknown_byte_order_is_refused(mark: bytes, tmp_path: Path) -> None:
    assert "byte order" in str(problem(torch_zip(TENSOR + b".", ("byteorder", mark)), tmp_path / "w"))


def test_a_zip64_archive_is_read(tmp_path: Path) -> None:
    """Sizes and offsets in zip64 fields, as in files above 4 GiB."""
    pickled = TENSOR + b"."
    body, directory = b"", b""
    for name, data in ((b"a/data.pkl", pickled), (b"a/data/0", FLOATS)):
        full = b"\xff" * 4
        field = struct.pack("<HHQQQ", 1, 24, len(data), len(data), len(body))
        directory += CENTRAL + struct.pack("<HHHHHHI", 45, 45, 0, 0, 0, 0, 0) + full + full
        directory += struct.pack("<HHHHHI", len(name), len(field), 0, 0, 0, 0) + full + name + field
        body += LOCAL + struct.pack("<HHHHHI", 45, 0, 0, 0, 0, 0) + full + full
        body += struct.pack("<HH", len(name), 20) + name + struct.pack("<HHQQ", 1, 16, len(data), len(data)) + data
    end64 = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 2, 2, len(directory), len(body))
    locator = b"PK\6\7" + struct.pack("<IQI", 0, len(body) + len(directory), 1)
    end = END + b"\0" * 4 + b"\xff" * 12 + b"\0\0"
    data = body + directory + end64 + locator + end
    assert read(data, tmp_path / "w")[1, 2] == 5
    for nth in range(2, 7):  # every number of the zip64 record is believed only when it fits
        broken = data.replace(end64, end64[: 8 * nth] + b"\xff" * 8 + end64[8 * nth + 8 :])
        problem(broken, tmp_path / "w")


def test_no_local_header_where_the_directory_says(tmp_path: Path) -> None:
    assert "not where" in str(problem(patched(GOOD, LOCAL, 1, 0, b"XXXX"), tmp_path / "w"))


def test_an_archive_comment_is_stepped_over(tmp_path: Path) -> None:
    commented = GOOD[:-2] + struct.pack("<H", 1000) + b"c" * 1000
    assert read(commented, tmp_path / "w")[1, 2] == 5


def test_a_compressed_member_is_refused_with_the_way_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", TENSOR + b".")
        archive.writestr("a/data/0", FLOATS * 1000)
    error = problem(buffer.getvalue(), tmp_path / "w")
    assert "compressed" in str(error)
    assert "zip -0" in error.next_step


def test_a_compression_bomb_is_refused_unopened(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\0" * 50_000_000)
    assert "compressed" in str(problem(buffer.getvalue(), tmp_path / "w"))


@pytest.mark.parametrize(
    ("nth", "offset", "value", "words"),
    [
        pytest.param(0, 42, struct.pack("<I", 1 << 30), "lies outside", id="header outside the file"),
        pytest.param(1, 42, struct.pack("<I", 0), "overlaps", id="two members in one place"),
        pytest.param(1, 42, struct.pack("<I", 40), "overlaps", id="a member inside another"),
        pytest.param(1, 20, struct.pack("<II", 39, 39), "overlaps", id="a member that reaches into what follows"),
        pytest.param(1, 20, struct.pack("<I", 20), "two sizes", id="stored in fewer bytes than it has"),
        pytest.param(1, 20, struct.pack("<II", 20, 20), "20 bytes where 24", id="a storage that is too short"),
        pytest.param(0, 8, struct.pack("<H", 1), "encrypted", id="encrypted"),
        pytest.param(0, 34, struct.pack("<H", 1), "several", id="on another disk"),
        pytest.param(0, 28, struct.pack("<H", 60000), "cut or overwritten", id="a name longer than the directory"),
        pytest.param(1, 0, b"XX", "cut or overwritten", id="no record where one should be"),
    ],
)
def test_a_directory_that_contradicts_itself(nth: int, offset: int, value: bytes, words: str, tmp_path: Path) -> None:
    assert words in str(problem(patched(GOOD, CENTRAL, nth, offset, value), tmp_path / "w"))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        pytest.param(30, b"Z", id="another name"),
        pytest.param(8, b"\x08\0", id="another method"),
        pytest.param(28, b"\xff\xff", id="an extra field that pushes the data out"),
        pytest.param(26, b"\xff\0", id="a longer name"),
    ],
)
@pytest.mark.parametrize("nth", [0, 1])
def test_a_local_header_that_contradicts_the_directory(nth: int, offset: int, value: bytes, tmp_path: Path) -> None:
    data = patched(GOOD, LOCAL, nth, offset, value)
    assert "damaged" in str(problem(data, tmp_path / "w"))
    if nth == 1:  # a remote reader does not look at the headers of storages
        source = CountingSource(tmp_path / "w")
        assert next(leaves(read_checkpoint(source).root)).shape == (2, 3)


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        pytest.param(4, struct.pack("<H", 1), "several", id="part of several"),
        pytest.param(8, struct.pack("<H", 1), "several", id="counts that differ"),
        pytest.param(8, struct.pack("<HH", 1, 1), "more entries", id="one entry too many"),
        pytest.param(8, struct.pack("<HH", 3, 3), "ends early", id="one entry too few"),
        pytest.param(12, struct.pack("<I", 1 << 20), "truncated", id="a directory beyond the end"),
        pytest.param(12, struct.pack("<II", 1 << 31, 0), "too many|truncated", id="a directory of gigabytes"),
    ],
)
def test_an_end_record_that_contradicts_the_file(offset: int, value: bytes, words: str, tmp_path: Path) -> None:
    error = problem(patched(GOOD, END, 0, offset, value), tmp_path / "w")
    assert any(word in str(error) for word in words.split("|"))


def test_duplicate_names_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        data = torch_zip(TENSOR + b".", ("data/0", FLOATS))
    assert "two members are called 'archive/data/0'" in str(problem(data, tmp_path / "w"))


def test_missing_and_ambiguous_members(tmp_path: Path) -> None:
    path = tmp_path / "w"
    assert "no member data/7" in str(problem(torch_zip(TENSOR.replace(b"\x000X", b"\x007X") + b"."), path))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", TENSOR + b".")
        archive.writestr("b/data.pkl", TENSOR + b".")
    assert "2 checkpoints" in str(problem(buffer.getvalue(), path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "no checkpoints" in str(problem(path.read_bytes(), path))


def test_names_in_messages_are_harmless_on_a_terminal(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("\x1b[31m\n/data.pkl", TENSOR + b".")
    text = str(problem(buffer.getvalue(), tmp_path / "w"))
    assert "\x1b" not in text
    assert "\n" not in text


def test_a_pickle_that_ends_before_its_stop_is_damaged_not_truncated(tmp_path: Path) -> None:
    assert "ends early" in str(problem(torch_zip(TENSOR), tmp_path / "w"))


@pytest.mark.parametrize("number", [-1, 1 << 62, 1 << 80])
def test_a_storage_of_an_impossible_length(number: int, tmp_path: Path) -> None:
    size = (number.bit_length() + 8) // 8
    pickled = TENSOR.replace(b"K\x06tQ", b"\x8a" + bytes([size]) + number.to_bytes(size, "little", signed=True) + b"tQ")
    problem(torch_zip(pickled + b"."), tmp_path / "w")


def test_the_same_file_from_torch_with_and_without_checksums(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    try:
        torch.serialization.set_crc32_options(False)
        with open_checkpoint(save([torch.arange(6.0)], tmp_path / "w", "zip")) as checkpoint:
            np.testing.assert_array_equal(numbers(checkpoint)[0], np.arange(6))
    finally:
        torch.serialization.set_crc32_options(before)


def test_a_directory_with_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.weights.checkpoint.limits.ARCHIVE_MEMBERS", 1)
    assert "lists 2 members" in str(problem(GOOD, tmp_path / "w"))


def test_a_zip64_locator_that_points_nowhere(tmp_path: Path) -> None:
    at = GOOD.index(END)
    for position in (at, 1 << 40, 0):
        locator = b"PK\6\7" + struct.pack("<IQI", 0, position, 1)
        assert "zip64" in str(problem(GOOD[:at] + locator + GOOD[at:], tmp_path / "w"))


def test_other_extra_fields_are_stepped_over(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in (("a/data.pkl", TENSOR + b"."), ("a/data/0", FLOATS)):
            entry = zipfile.ZipInfo(name)
            entry.extra = struct.pack("<HHI", 0x4246, 4, 0)
            archive.writestr(entry, data)
    assert read(buffer.getvalue(), tmp_path / "w")[1, 2] == 5


def test_a_header_found_damaged_only_when_its_numbers_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(patched(GOOD, LOCAL, 1, 0, b"XXXX"))
    with read_checkpoint(FileSource(path)) as checkpoint:
        (tensor,) = leaves(checkpoint.root)
        with pytest.raises(CheckpointError, match="not where the directory says"):
            tensor.numpy()


def test_a_storage_that_is_no_tensor_is_kept_by_name(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(torch_zip(TENSOR + ID + b"\x86."))
    with open_checkpoint(tmp_path / "w") as checkpoint:
        assert isinstance(checkpoint.root, tuple)
        assert isinstance(checkpoint.root[1], Opaque)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param(b"X\x03\0\0\0cpu", b"X\x04\0\0\0meta", "meta tensor", id="on no device"),
        pytest.param(b"FloatStorage", b"QInt8Storage", "quantised", id="quantised numbers"),
    ],
)
def test_storages_that_are_no_plain_numbers(old: bytes, new: bytes, words: str, tmp_path: Path) -> None:
    assert words in problem(torch_zip(TENSOR.replace(old, new) + b"."), tmp_path / "w").why


def test_a_dtype_that_is_not_known(tmp_path: Path) -> None:
    tensor = TENSOR.replace(b"_v2", b"_v3")[:-2] + b"ctorch\nbits8\ntR."
    assert "dtype bits8" in problem(torch_zip(tensor), tmp_path / "w").why


def test_a_torchscript_program_is_named(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "w"))
    with pytest.raises(CheckpointError, match="TorchScript") as caught:
        open_checkpoint(tmp_path / "w")
    assert "torch.jit.load" in caught.value.next_step
