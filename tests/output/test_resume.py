"""Whatever interrupts a run, resuming it ends in the same bytes as a run that nothing interrupted."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sink_examples import KINDS, SETTINGS, TOP_2, Kind, VectorCodec, Vectors, VectorSettings

from vggcli.errors import OutputError, UsageError
from vggcli.images.discover import Input
from vggcli.output.lines import ENCODERS, header
from vggcli.output.parquet import journal_path
from vggcli.output.resume import open_output
from vggcli.output.sidecar import RunSettings, sidecar_path
from vggcli.output.stream import open_file
from vggcli.records import Failure, Prediction, Record

FORMATS = ("tsv", "csv", "jsonl", "parquet")
PATHS = ["a.jpg", "=b\t\n.jpg", "broken.jpg", "é\udcff.jpg", "a.jpg", "flaky,1.jpg", "flaky,2.jpg", "last.jpg"]


PREDICTIONS, VECTORS = KINDS
KINDS_BY_NAME = {str(kind): kind for kind in KINDS}
both_kinds = pytest.mark.parametrize("kind", KINDS, ids=str)


def classify(kind: Kind[Any], inputs: Iterable[Input], mended: bool = True) -> Iterator[Any]:
    """Stands in for a network: what it says depends on the path alone, and on whether flaky files are mended."""
    for item in inputs:
        path = item.path
        failed = "broken" in path or ("flaky" in path and not mended)
        yield kind.record(path, Failure("unreadable", f"sad, {path}") if failed else None)


def predict(
    kind: Kind[Any],
    output: Path,
    format: str,
    paths: Iterable[str] = PATHS,
    settings: RunSettings | None = None,
    *,
    mended: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> list[str]:
    """A run of the tool, with what it classified."""
    done = []
    settings = settings or kind.settings
    with open_output(format, output, kind.codec, settings, resume=resume, overwrite=overwrite) as run:
        for record in classify(kind, run.inputs(Input(path) for path in paths), mended):
            run.write(record)
            done.append(record.path)
    return done


def interrupt(
    kind: Kind[Any],
    output: Path,
    format: str,
    after: int,
    paths: Iterable[str] = PATHS,
    *,
    mended: bool = True,
    resume: bool = False,
) -> None:
    """A run that Ctrl-C ends after so many records, or behind its last one."""
    opened = open_output(format, output, kind.codec, kind.settings, resume=resume)
    with pytest.raises(KeyboardInterrupt), opened as run:  # noqa: PT012
        for number, record in enumerate(classify(kind, run.inputs(map(Input, paths)), mended)):
            if number == after:
                break
            run.write(record)
        raise KeyboardInterrupt


def lines_of(output: Path, format: str) -> Path:
    return journal_path(output) if format == "parquet" else output


@pytest.fixture(autouse=True)
def _parquet(request: pytest.FixtureRequest) -> None:
    if "parquet" in getattr(request.node, "callspec", request.node).__dict__.get("params", {}).values():
        pytest.importorskip("pyarrow")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out"


@both_kinds
@pytest.mark.parametrize("mended_before", [True, False])
@pytest.mark.parametrize("format", FORMATS)
def test_a_run_torn_at_any_byte_resumes_to_the_same_bytes(
    kind: Kind[Any], format: str, mended_before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # a hundred runs need not wait for the disk
    paths = PATHS[1:6]
    predict(kind, tmp_path / "whole", format, paths)
    whole = (tmp_path / "whole").read_bytes()
    output = tmp_path / "out"
    interrupt(kind, output, format, len(paths), paths, mended=mended_before)
    written = lines_of(output, format).read_bytes()
    # Around the end of every row, where it counts, each byte; inside rows every sixteenth will do.
    ends = [number + 1 for number, byte in enumerate(written) if byte == 10]
    cuts = {*range(0, len(written), 16), *(end + shift for end in ends for shift in (-2, -1, 0, 1, 2))}
    for cut in sorted(cut for cut in cuts if cut <= len(written)):
        output.unlink(missing_ok=True)
        lines_of(output, format).write_bytes(written[:cut])
        predict(kind, output, format, paths, resume=True)
        assert output.read_bytes() == whole, f"cut at byte {cut}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.vgg.json", "whole", "whole.vgg.json"]


@both_kinds
@pytest.mark.parametrize("format", FORMATS)
def test_only_what_is_missing_is_classified_and_then_what_failed(kind: Kind[Any], format: str, output: Path) -> None:
    interrupt(kind, output, format, 7, mended=False)
    with open_output(format, output, kind.codec, kind.settings, resume=True) as run:
        done = []
        for record in classify(kind, run.inputs(map(Input, PATHS))):
            run.write(record)
            done.append(record.path)
        assert run.kept == 4
    assert done == ["last.jpg", "broken.jpg", "flaky,1.jpg", "flaky,2.jpg"]


@both_kinds
@pytest.mark.parametrize("format", FORMATS)
def test_a_finished_run_resumes_to_itself_and_can_grow(
    kind: Kind[Any], format: str, output: Path, tmp_path: Path
) -> None:
    predict(kind, output, format)
    before = output.read_bytes()
    assert predict(kind, output, format, resume=True) == ["broken.jpg"]
    assert output.read_bytes() == before
    assert predict(kind, output, format, [*PATHS, "new.jpg"], resume=True) == ["new.jpg", "broken.jpg"]
    predict(kind, tmp_path / "whole", format, [*PATHS, "new.jpg"])
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()


@both_kinds
@pytest.mark.parametrize("format", FORMATS)
def test_nothing_to_resume_is_a_run_from_the_start(kind: Kind[Any], format: str, output: Path, tmp_path: Path) -> None:
    assert predict(kind, output, format, resume=True) == PATHS
    predict(kind, tmp_path / "whole", format)
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()


@both_kinds
@pytest.mark.parametrize("format", FORMATS)
def test_an_interruption_among_the_retries_keeps_those_made(
    kind: Kind[Any], format: str, output: Path, tmp_path: Path
) -> None:
    predict(kind, tmp_path / "whole", format)
    interrupt(kind, output, format, len(PATHS), mended=False)
    interrupt(kind, output, format, 2, resume=True)
    assert predict(kind, output, format, resume=True) == ["broken.jpg", "flaky,2.jpg"]
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
import test_resume
from vggcli.output.stream import Stream

moment, kind, format, output, count = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5])

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "write":
    def write(stream, data, seen=[]):
        seen.append(data)
        if len(seen) == count:
            stream._raw.write(data[: len(data) // 2])
            die()
        whole(stream, data)
    whole, Stream.write = Stream.write, write
else:
    whole = getattr(Path, moment)
    def patched(path, *arguments, **named):
        if moment == "replace" or path.name.endswith(".journal.jsonl"):
            patched.seen += 1
            if patched.seen == count:
                die()
        return whole(path, *arguments, **named)
    patched.seen = 0
    setattr(Path, moment, patched)
test_resume.predict(test_resume.KINDS_BY_NAME[kind], output, format, resume=True)
"""


@both_kinds
@pytest.mark.parametrize(
    ("earlier", "format", "moment", "count"),
    [
        (None, "tsv", "replace", 1),  # before the sidecar is in its place
        (None, "csv", "write", 1),  # in the middle of the header
        (None, "parquet", "write", 1),
        ("interrupted", "tsv", "write", 1),  # in the middle of the record after those of the first run
        ("interrupted", "csv", "write", 2),
        ("interrupted", "jsonl", "write", 3),
        ("interrupted", "tsv", "replace", 1),  # retries made, not yet in their places
        ("interrupted", "parquet", "write", 2),
        ("interrupted", "parquet", "replace", 1),  # the same
        ("interrupted", "parquet", "replace", 2),  # the Parquet file whole, not yet in its place
        ("interrupted", "parquet", "unlink", 1),  # in its place, the journal still there
        ("finished", "csv", "replace", 1),
        ("finished", "parquet", "replace", 1),  # the journal restored, not yet in its place
        ("finished", "parquet", "replace", 2),  # retries made, not yet in their places
    ],
)
def test_sigkill_at_each_moment_loses_nothing(
    kind: Kind[Any], earlier: str | None, format: str, moment: str, count: int, tmp_path: Path
) -> None:
    predict(kind, tmp_path / "whole", format)
    output = tmp_path / "out"
    if earlier == "interrupted":
        interrupt(kind, output, format, len(PATHS) - 3, mended=False)
    elif earlier == "finished":
        predict(kind, output, format, mended=False)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-c", KILLED, moment, str(kind), format, str(output), str(count)]
    process = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    predict(kind, output, format, resume=True)
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.vgg.json", "whole", "whole.vgg.json"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (PREDICTIONS, "weights_fingerprint"),
        (PREDICTIONS, "variant"),
        (PREDICTIONS, "dialect"),
        (PREDICTIONS, "preprocessing"),
        (PREDICTIONS, "labels"),
        (PREDICTIONS, "engine"),
        (PREDICTIONS, "precision"),
        (PREDICTIONS, "top_k"),
        (VECTORS, "weights_fingerprint"),
        (VECTORS, "layer"),
    ],
    ids=str,
)
def test_a_setting_that_changes_numbers_is_refused_by_name_and_nothing_changes(
    kind: Kind[Any], format: str, field: str, output: Path, tmp_path: Path
) -> None:
    interrupt(kind, output, format, 3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    value = 5 if field == "top_k" else "another"
    other = dataclasses.replace(kind.settings, **{field: value})
    with pytest.raises(UsageError) as error:
        predict(kind, output, format, settings=other, resume=True)
    assert f"its {field} is {getattr(kind.settings, field)!r}, this run's is {value!r}" in str(error.value)
    assert error.value.exit_code == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("kind", "field"),
    [(PREDICTIONS, "version"), (PREDICTIONS, "weights"), (PREDICTIONS, "device"), (VECTORS, "version")],
    ids=str,
)
def test_information_may_differ_and_stays_as_the_run_began(
    kind: Kind[Any], format: str, field: str, output: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    interrupt(kind, output, format, 3)
    sidecar = sidecar_path(output).read_bytes()
    predict(kind, tmp_path / "whole", format)
    with caplog.at_level(logging.INFO, "vggcli"):
        predict(kind, output, format, settings=dataclasses.replace(kind.settings, **{field: "another"}), resume=True)
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()
    assert sidecar_path(output).read_bytes() == sidecar
    assert f"its {field} is {getattr(kind.settings, field)!r}, this run's is 'another'" in caplog.text


# As version 0.1 wrote it, to the byte.
EARLIER_SIDECAR = b"""{
  "format": "tsv",
  "version": "0.1.0",
  "weights": "vgg16_bn-6c64b313.pth",
  "weights_fingerprint": "sha256:6c64b313",
  "variant": "vgg16_bn",
  "dialect": "torchvision",
  "preprocessing": "squash 224",
  "labels": "0123456789abcdef",
  "engine": "torch",
  "device": "cuda:0",
  "precision": "fp32",
  "top_k": 2
}
"""


def test_a_run_of_an_earlier_version_is_gone_on_with(output: Path, tmp_path: Path) -> None:
    predict(PREDICTIONS, tmp_path / "whole", "tsv", ["a.jpg", "c.jpg"])
    first, second = (tmp_path / "whole").read_bytes().split(b"c.jpg", 1)
    output.write_bytes(first + b"c.jpg" + second[:5])
    sidecar_path(output).write_bytes(EARLIER_SIDECAR)
    assert predict(PREDICTIONS, output, "tsv", ["a.jpg", "c.jpg"], resume=True) == ["c.jpg"]
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_sidecar_of_predictions_is_what_earlier_versions_wrote(output: Path) -> None:
    predict(PREDICTIONS, output, "tsv", settings=dataclasses.replace(SETTINGS, version="0.1.0", device="cuda:0"))
    assert sidecar_path(output).read_bytes() == EARLIER_SIDECAR


def test_a_setting_that_a_later_version_adds_is_its_default_in_earlier_runs(output: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class LaterSettings(VectorSettings):
        crops: int = 1

    interrupt(VECTORS, output, "tsv", 3)
    with pytest.raises(UsageError, match="its crops is 1, this run's is 10"):
        predict(VECTORS, output, "tsv", settings=LaterSettings("2.0", "sha256:6c64b313", "fc7", crops=10), resume=True)
    done = predict(VECTORS, output, "tsv", settings=LaterSettings("2.0", "sha256:6c64b313", "fc7"), resume=True)
    assert done == [*PATHS[3:], "broken.jpg"]


def test_a_setting_that_only_a_later_version_knows_is_refused(output: Path) -> None:
    interrupt(VECTORS, output, "tsv", 3)
    sidecar = sidecar_path(output)
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"crops": 10}))
    with pytest.raises(UsageError, match="its crops is 10, this run's is None"):
        predict(VECTORS, output, "tsv", resume=True)


@pytest.mark.parametrize("format", FORMATS)
def test_records_of_another_kind_are_not_gone_on_with(format: str, output: Path) -> None:
    """Even where both are lines of JSON and made with the same settings."""
    interrupt(PREDICTIONS, output, format, 3)
    with pytest.raises(UsageError, match="its records is 'predictions', this run's is 'vectors'"):
        predict(Vectors(VectorCodec(), SETTINGS), output, format, resume=True)


def test_all_differences_are_named_at_once_and_the_format_is_one(output: Path) -> None:
    interrupt(PREDICTIONS, output, "tsv", 3)
    with pytest.raises(UsageError, match=r"its format is 'tsv', .* 'csv'; its engine is 'torch', .* 'openvino'"):
        predict(PREDICTIONS, output, "csv", settings=dataclasses.replace(SETTINGS, engine="openvino"), resume=True)


@both_kinds
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_without_a_readable_sidecar_there_is_no_resuming(
    kind: Kind[Any], format: str, content: bytes | None, output: Path
) -> None:
    predict(kind, output, format)
    sidecar_path(output).unlink()
    if content is not None:
        sidecar_path(output).write_bytes(content)
    before = output.read_bytes()
    with pytest.raises(UsageError, match=r"settings are not readable in out\.vgg\.json.*--overwrite"):
        predict(kind, output, format, resume=True)
    assert output.read_bytes() == before


def test_the_sidecar_holds_the_format_the_kind_and_every_setting(output: Path) -> None:
    predict(VECTORS, output, "tsv")
    settings = {"version": "1.2.3", "weights_fingerprint": "sha256:6c64b313", "layer": "fc7"}
    assert json.loads(sidecar_path(output).read_text()) == {"format": "tsv", "records": "vectors", **settings}


@both_kinds
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["a.jpg", "other.jpg", *PATHS[2:]], r"record 2 is of .*b.*, but input 2 of this run is 'other\.jpg'"),
        (PATHS[1:], r"record 1 is of 'a\.jpg', but input 1 of this run is '=b"),
        (PATHS[:2], r"record 3 is of 'broken\.jpg', but this run has only 2 inputs"),
    ],
)
def test_other_inputs_are_refused_and_nothing_changes(
    kind: Kind[Any], format: str, paths: list[str], words: str, output: Path
) -> None:
    interrupt(kind, output, format, 5)
    lines = lines_of(output, format)
    before = lines.read_bytes() + b"torn"
    lines.write_bytes(before)
    with pytest.raises(UsageError, match=words):
        predict(kind, output, format, paths, resume=True)
    assert lines.read_bytes() == before


def spoil(kind: Kind[Any], format: str) -> list[bytes]:
    """Files that begin like an output of the test run and go on with what no run writes."""
    first, second = (ENCODERS[format](kind.codec, kind.record(path)) for path in ("a.jpg", "c.jpg"))
    start = header(format, kind.codec)
    foreign = [
        start + first + junk for junk in (b"\n", b"junk\n", b"\xff\n", b"null\n", b'{"path": 1, "status": "ok"}\n')
    ]
    if format == "jsonl":
        return foreign
    if format == "csv":
        foreign += [b"path,rank\n" + first, start + b'a"b,"c\n']
    separator = b"," if format == "csv" else b"\t"
    if kind is VECTORS:
        return [*foreign, start + first.replace(separator + b"ok" + separator, separator + b"bad" + separator)]
    row, next_row = first.splitlines(keepends=True)
    foreign += [start + next_row + first, start + row + second, start + first + row + row]
    return foreign + [
        start + row.replace(separator + b"1" + separator, separator + rank + separator) for rank in (b"0", b"x")
    ]


@both_kinds
@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl"])
def test_a_file_with_lines_of_others_is_refused_and_left_alone(kind: Kind[Any], format: str, output: Path) -> None:
    predict(kind, output, format)
    for content in spoil(kind, format):
        output.write_bytes(content)
        with pytest.raises(UsageError, match=r"line \d is not one that this tool wrote"):
            predict(kind, output, format, ["a.jpg", "c.jpg"], resume=True)
        assert output.read_bytes() == content


@both_kinds
@pytest.mark.parametrize("format", FORMATS)
def test_overwrite_starts_anew_with_its_own_settings(
    kind: Kind[Any], format: str, output: Path, tmp_path: Path
) -> None:
    predict(kind, output, format, ["old.jpg"], settings=dataclasses.replace(kind.settings, weights_fingerprint=""))
    with pytest.raises(UsageError, match="the file exists"):
        predict(kind, output, format)
    assert predict(kind, output, format, overwrite=True) == PATHS
    predict(kind, tmp_path / "whole", format)
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()
    assert predict(kind, output, format, resume=True) == ["broken.jpg"]


def test_resume_and_overwrite_contradict_each_other(output: Path) -> None:
    with pytest.raises(UsageError, match="contradict"):
        predict(PREDICTIONS, output, "tsv", resume=True, overwrite=True)


@pytest.mark.parametrize(("format", "where"), [("tsv", None), ("tsv", "/dev/null"), ("table", "out.txt")])
def test_only_files_for_programs_can_be_resumed(format: str, where: str | None) -> None:
    with pytest.raises(UsageError, match="Use -o FILE"):
        open_output(format, Path(where) if where else None, TOP_2, SETTINGS, resume=True)


def test_standard_output_and_tables_have_no_sidecar(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with open_output("tsv", None, TOP_2, SETTINGS) as run:
        for record in classify(PREDICTIONS, run.inputs(map(Input, PATHS))):
            run.write(record)
    assert capsysbinary.readouterr().out.count(b"\n") == 2 * 7 + 1
    predict(PREDICTIONS, tmp_path / "table", "table")
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_a_link_is_resumed_through_and_permissions_are_kept(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    predict(PREDICTIONS, tmp_path / "link", "tsv", mended=False)
    (tmp_path / "real").chmod(0o640)
    predict(PREDICTIONS, tmp_path / "link", "tsv", resume=True)
    predict(PREDICTIONS, tmp_path / "whole", "tsv")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == (tmp_path / "whole").read_bytes()
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


@both_kinds
@pytest.mark.parametrize("format", FORMATS)
def test_a_run_that_ends_before_its_inputs_are_asked_for_changes_nothing(
    kind: Kind[Any], format: str, output: Path
) -> None:
    interrupt(kind, output, format, 3)
    before = lines_of(output, format).read_bytes()
    with open_output(format, output, kind.codec, kind.settings, resume=True):
        pass
    assert lines_of(output, format).read_bytes() == before


def test_records_of_other_inputs_or_sizes_are_mistakes_of_the_program(output: Path) -> None:
    predict(PREDICTIONS, output, "tsv", mended=False)
    run = open_output("tsv", output, TOP_2, SETTINGS, resume=True)
    list(run.inputs(map(Input, PATHS)))
    with pytest.raises(ValueError, match="not that of the next input"):
        run.write(Record("a.jpg", failure=Failure("empty", "")))
    with pytest.raises(ValueError, match="1 predictions, not 2"):
        run.write(Record("broken.jpg", (Prediction(1, 0, "x", 1.0),)))
    run.suspend()


def test_a_sidecar_that_cannot_be_written_leaves_no_open_file(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OutputError("cannot write", "out.vgg.json", "no space left on device")

    monkeypatch.setattr("vggcli.output.sidecar.write_sidecar", refuse)
    with pytest.raises(OutputError) as error:
        open_output("tsv", output, TOP_2, SETTINGS)
    open_file(output, overwrite=True).close()  # its lock is free, although the traceback still holds every object
    del error


def test_inputs_are_taken_one_by_one(output: Path) -> None:
    predict(PREDICTIONS, output, "tsv", PATHS[:3])
    taken = []

    def found() -> Iterator[Input]:
        for path in PATHS:
            taken.append(path)
            yield Input(path)

    run = open_output("tsv", output, TOP_2, SETTINGS, resume=True)
    assert next(run.inputs(found())) == Input(PATHS[3])
    assert taken == PATHS[:4]
    run.suspend()


# What somebody else has put in the place of our files


@pytest.mark.parametrize("settings", ["[" * 200_000, '{"a":' * 200_000, "[NaN]", "[]", " " * 2_000_000])
def test_settings_that_are_no_settings_are_refused_in_a_sentence(settings: str, output: Path) -> None:
    predict(PREDICTIONS, output, "tsv")
    sidecar_path(output).write_text(settings)

    with pytest.raises(
        UsageError, match=r"its settings are not readable in out\.vgg\.json: it is|holds NaN"
    ) as refused:
        predict(PREDICTIONS, output, "tsv", resume=True)
    assert len(str(refused.value)) < 300


def test_long_and_many_settings_are_cut_in_the_message(output: Path) -> None:
    predict(PREDICTIONS, output, "tsv")
    sidecar = sidecar_path(output)
    strange: dict[str, object] = {f"{number}{'k' * 1000}": number for number in range(500)}
    settings = json.loads(sidecar.read_text()) | {"engine": "x" * 100_000} | strange
    sidecar.write_text(json.dumps(settings))

    with pytest.raises(
        UsageError, match=r"its engine is 'x+\.\.\. \(cut\), this run's is 'torch'; .*; and 485 more"
    ) as refused:
        predict(PREDICTIONS, output, "tsv", resume=True)
    assert len(str(refused.value)) < 3000


@pytest.mark.parametrize(
    "line", ["[" * 200_000, '{"path": ' + "[" * 200_000, '{"path": "a", "status": ' + "[" * 65 + "]" * 65 + "}"]
)
@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_deeply_nested_lines_are_not_ours(format: str, line: str, output: Path) -> None:
    interrupt(PREDICTIONS, output, format, 3)
    lines_of(output, format).write_text(line + "\n")

    with pytest.raises(UsageError, match="line 1 is not one that this tool wrote there"):
        predict(PREDICTIONS, output, format, resume=True)


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl"])
def test_a_line_without_an_end_is_not_read_whole(format: str, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vggcli.output.readback.LONGEST_LINE", 1000)
    predict(PREDICTIONS, output, format)
    with output.open("ab") as file:
        file.write(b"x" * 1000)

    with pytest.raises(UsageError, match=r"line \d+ is not one that this tool wrote there"):
        predict(PREDICTIONS, output, format, resume=True)


def test_a_record_of_others_is_cut_in_the_message(output: Path) -> None:
    predict(PREDICTIONS, output, "jsonl")
    output.write_text(json.dumps({"path": "p" * 1_000_000, "status": "ok", "predictions": []}) + "\n")

    with pytest.raises(UsageError, match=r"its record 1 is of 'p+\.\.\. \(cut\), but input 1 of this run is 'a\.jpg'"):
        predict(PREDICTIONS, output, "jsonl", resume=True)


@pytest.mark.parametrize("predictions", ['[{"rank": "first"}]', "[1]", '[{"rank": 1}]'])
def test_a_journal_that_holds_something_else_is_no_parquet(predictions: str, output: Path) -> None:
    pytest.importorskip("pyarrow")
    interrupt(PREDICTIONS, output, "parquet", 1)
    journal_path(output).write_text(f'{{"path": "a.jpg", "status": "ok", "predictions": {predictions}}}\n')

    with pytest.raises(
        UsageError, match=r"(a line of out\.journal\.jsonl|line 1) is not one that this tool wrote there"
    ):
        predict(PREDICTIONS, output, "parquet", ["a.jpg"], resume=True)
