"""Whatever interrupts a run, resuming it ends in the same bytes as a run that nothing interrupted."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from sink_examples import SETTINGS

from vggcli.errors import UsageError
from vggcli.images.discover import Input
from vggcli.output.lines import ENCODERS
from vggcli.output.parquet import journal_path
from vggcli.output.resume import open_run, sidecar_path
from vggcli.records import Failure, Prediction, Record, Settings

FORMATS = ("tsv", "csv", "jsonl", "parquet")
PATHS = ["a.jpg", "=b\t\n.jpg", "broken.jpg", "é\udcff.jpg", "a.jpg", "flaky,1.jpg", "flaky,2.jpg", "last.jpg"]


def classify(inputs: Iterable[Input], mended: bool = True) -> Iterator[Record]:
    """Stands in for a network: what it says depends on the path alone, and on whether flaky files are mended."""
    for item in inputs:
        path = item.path
        if "broken" in path or ("flaky" in path and not mended):
            yield Record(path, failure=Failure("unreadable", f"sad, {path}"))
        else:
            first = sum(path.encode("utf-8", "surrogateescape")) % 900
            yield Record(
                path, (Prediction(1, first, f"label {first}, =x", 0.75), Prediction(2, 7, "-other", first / 3600))
            )


def predict(
    output: Path,
    format: str,
    paths: Iterable[str] = PATHS,
    settings: Settings = SETTINGS,
    *,
    mended: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> list[str]:
    """A run of the tool, with what it classified."""
    done = []
    with open_run(format, output, settings, resume=resume, overwrite=overwrite) as run:
        for record in classify(run.inputs(Input(path) for path in paths), mended):
            run.write(record)
            done.append(record.path)
    return done


def interrupt(
    output: Path,
    format: str,
    after: int,
    paths: Iterable[str] = PATHS,
    *,
    mended: bool = True,
    resume: bool = False,
) -> None:
    """A run that Ctrl-C ends after so many records, or behind its last one."""
    with pytest.raises(KeyboardInterrupt), open_run(format, output, SETTINGS, resume=resume) as run:  # noqa: PT012
        for number, record in enumerate(classify(run.inputs(map(Input, paths)), mended)):
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


@pytest.mark.parametrize("mended_before", [True, False])
@pytest.mark.parametrize("format", FORMATS)
def test_a_run_torn_at_any_byte_resumes_to_the_same_bytes(
    format: str, mended_before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # a hundred runs need not wait for the disk
    paths = PATHS[1:6]
    predict(tmp_path / "whole", format, paths)
    whole = (tmp_path / "whole").read_bytes()
    output = tmp_path / "out"
    interrupt(output, format, len(paths), paths, mended=mended_before)
    written = lines_of(output, format).read_bytes()
    # Around the end of every row, where it counts, each byte; inside rows every sixteenth will do.
    ends = [number + 1 for number, byte in enumerate(written) if byte == 10]
    cuts = {*range(0, len(written), 16), *(end + shift for end in ends for shift in (-2, -1, 0, 1, 2))}
    for cut in sorted(cut for cut in cuts if cut <= len(written)):
        output.unlink(missing_ok=True)
        lines_of(output, format).write_bytes(written[:cut])
        predict(output, format, paths, resume=True)
        assert output.read_bytes() == whole, f"cut at byte {cut}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.vgg.json", "whole", "whole.vgg.json"]


@pytest.mark.parametrize("format", FORMATS)
def test_only_what_is_missing_is_classified_and_then_what_failed(format: str, output: Path) -> None:
    interrupt(output, format, 7, mended=False)
    with open_run(format, output, SETTINGS, resume=True) as run:
        done = []
        for record in classify(run.inputs(map(Input, PATHS))):
            run.write(record)
            done.append(record.path)
        assert run.kept == 4
    assert done == ["last.jpg", "broken.jpg", "flaky,1.jpg", "flaky,2.jpg"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_finished_run_resumes_to_itself_and_can_grow(format: str, output: Path, tmp_path: Path) -> None:
    predict(output, format)
    before = output.read_bytes()
    assert predict(output, format, resume=True) == ["broken.jpg"]
    assert output.read_bytes() == before
    assert predict(output, format, [*PATHS, "new.jpg"], resume=True) == ["new.jpg", "broken.jpg"]
    predict(tmp_path / "whole", format, [*PATHS, "new.jpg"])
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_to_resume_is_a_run_from_the_start(format: str, output: Path, tmp_path: Path) -> None:
    assert predict(output, format, resume=True) == PATHS
    predict(tmp_path / "whole", format)
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("format", FORMATS)
def test_an_interruption_among_the_retries_keeps_those_made(format: str, output: Path, tmp_path: Path) -> None:
    predict(tmp_path / "whole", format)
    interrupt(output, format, len(PATHS), mended=False)
    interrupt(output, format, 2, resume=True)
    assert predict(output, format, resume=True) == ["broken.jpg", "flaky,2.jpg"]
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
import test_resume
from vggcli.output.stream import Stream

moment, format, output, count = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])

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
        concerns = {"replace": ".vgg.json" not in path.name, "unlink": path.name.endswith(".journal.jsonl")}
        if concerns[moment]:
            patched.seen += 1
            if patched.seen == count:
                die()
        return whole(path, *arguments, **named)
    patched.seen = 0
    setattr(Path, moment, patched)
test_resume.predict(output, format, resume=True)
"""


@pytest.mark.parametrize(
    ("format", "moment", "count"),
    [
        ("tsv", "write", 1),  # in the middle of the record after those of the first run
        ("csv", "write", 2),
        ("jsonl", "write", 3),
        ("tsv", "replace", 1),  # retries made, not yet in their places
        ("parquet", "write", 2),
        ("parquet", "replace", 1),  # the same
        ("parquet", "replace", 2),  # the Parquet file whole, not yet in its place
        ("parquet", "unlink", 1),  # in its place, the journal still there
    ],
)
def test_sigkill_at_each_moment_loses_nothing(format: str, moment: str, count: int, tmp_path: Path) -> None:
    predict(tmp_path / "whole", format)
    output = tmp_path / "out"
    interrupt(output, format, len(PATHS) - 3, mended=False)
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-c", KILLED, moment, format, str(output), str(count)]
    process = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    predict(output, format, resume=True)
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob("*journal*"))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Settings)])
def test_every_different_setting_is_refused_by_name_and_nothing_changes(
    format: str, field: str, output: Path, tmp_path: Path
) -> None:
    interrupt(output, format, 3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    value = 5 if field == "top_k" else "another"
    other = dataclasses.replace(SETTINGS, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(UsageError) as error:
        predict(output, format, settings=other, resume=True)
    assert f"its {field} is {getattr(SETTINGS, field)!r}, this run's is {value!r}" in str(error.value)
    assert error.value.exit_code == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_all_differences_are_named_at_once_and_the_format_is_one(output: Path) -> None:
    interrupt(output, "tsv", 3)
    with pytest.raises(UsageError, match=r"its format is 'tsv', .* 'csv'; its engine is 'torch', .* 'openvino'"):
        predict(output, "csv", settings=dataclasses.replace(SETTINGS, engine="openvino"), resume=True)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_without_a_readable_sidecar_there_is_no_resuming(format: str, content: bytes | None, output: Path) -> None:
    predict(output, format)
    sidecar_path(output).unlink()
    if content is not None:
        sidecar_path(output).write_bytes(content)
    before = output.read_bytes()
    with pytest.raises(UsageError, match=r"settings are not readable in out\.vgg\.json.*--overwrite"):
        predict(output, format, resume=True)
    assert output.read_bytes() == before


def test_the_sidecar_holds_the_format_and_every_setting(output: Path) -> None:
    predict(output, "tsv")
    assert json.loads(sidecar_path(output).read_text()) == {"format": "tsv", **dataclasses.asdict(SETTINGS)}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["a.jpg", "other.jpg", *PATHS[2:]], r"record 2 is of .*b.*, but input 2 of this run is 'other\.jpg'"),
        (PATHS[1:], r"record 1 is of 'a\.jpg', but input 1 of this run is '=b"),
        (PATHS[:2], r"record 3 is of 'broken\.jpg', but this run has only 2 inputs"),
    ],
)
def test_other_inputs_are_refused_and_nothing_changes(format: str, paths: list[str], words: str, output: Path) -> None:
    interrupt(output, format, 5)
    lines = lines_of(output, format)
    before = lines.read_bytes() + b"torn"
    lines.write_bytes(before)
    with pytest.raises(UsageError, match=words):
        predict(output, format, paths, resume=True)
    assert lines.read_bytes() == before


def spoil(format: str) -> list[bytes]:
    """Files that begin like an output of the test run and go on with what no run writes."""
    first, second = (ENCODERS[format](record) for record in classify([Input("a.jpg"), Input("c.jpg")]))
    header = b"path,rank,index,label,probability,error\n" if format == "csv" else b""
    foreign = [
        header + first + junk for junk in (b"\n", b"junk\n", b"\xff\n", b"null\n", b'{"path": 1, "status": "ok"}\n')
    ]
    if format == "jsonl":
        return foreign
    row, next_row = first.splitlines(keepends=True)
    separator = b"," if format == "csv" else b"\t"
    foreign += [header + next_row + first, header + row + second, header + first + row + row]
    foreign += [
        header + row.replace(separator + b"1" + separator, separator + rank + separator) for rank in (b"0", b"x")
    ]
    return foreign + ([b"path,rank\n" + first, header + b'a"b,"c\n'] if format == "csv" else [])


@pytest.mark.parametrize("format", ["tsv", "csv", "jsonl"])
def test_a_file_with_lines_of_others_is_refused_and_left_alone(format: str, output: Path) -> None:
    predict(output, format)
    for content in spoil(format):
        output.write_bytes(content)
        with pytest.raises(UsageError, match=r"line \d is not one that this tool wrote"):
            predict(output, format, ["a.jpg", "c.jpg"], resume=True)
        assert output.read_bytes() == content


@pytest.mark.parametrize("format", FORMATS)
def test_overwrite_starts_anew_with_its_own_settings(format: str, output: Path, tmp_path: Path) -> None:
    predict(output, format, ["old.jpg"], settings=dataclasses.replace(SETTINGS, engine="openvino"))
    with pytest.raises(UsageError, match="the file exists"):
        predict(output, format)
    assert predict(output, format, overwrite=True) == PATHS
    predict(tmp_path / "whole", format)
    assert output.read_bytes() == (tmp_path / "whole").read_bytes()
    assert predict(output, format, resume=True) == ["broken.jpg"]


def test_resume_and_overwrite_contradict_each_other(output: Path) -> None:
    with pytest.raises(UsageError, match="contradict"):
        predict(output, "tsv", resume=True, overwrite=True)


@pytest.mark.parametrize(("format", "where"), [("tsv", None), ("tsv", "/dev/null"), ("table", "out.txt")])
def test_only_files_for_programs_can_be_resumed(format: str, where: str | None) -> None:
    with pytest.raises(UsageError, match="Use -o FILE"):
        open_run(format, Path(where) if where else None, SETTINGS, resume=True)


def test_standard_output_and_tables_have_no_sidecar(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with open_run("tsv", None, SETTINGS) as run:
        for record in classify(run.inputs(map(Input, PATHS))):
            run.write(record)
    assert capsysbinary.readouterr().out.count(b"\n") == 2 * 7 + 1
    predict(tmp_path / "table", "table")
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_a_link_is_resumed_through_and_permissions_are_kept(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    predict(tmp_path / "link", "tsv", mended=False)
    (tmp_path / "real").chmod(0o640)
    predict(tmp_path / "link", "tsv", resume=True)
    predict(tmp_path / "whole", "tsv")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == (tmp_path / "whole").read_bytes()
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("format", FORMATS)
def test_a_run_that_ends_before_its_inputs_are_asked_for_changes_nothing(format: str, output: Path) -> None:
    interrupt(output, format, 3)
    before = lines_of(output, format).read_bytes()
    with open_run(format, output, SETTINGS, resume=True):
        pass
    assert lines_of(output, format).read_bytes() == before


def test_records_of_other_inputs_or_sizes_are_mistakes_of_the_program(output: Path) -> None:
    predict(output, "tsv", mended=False)
    run = open_run("tsv", output, SETTINGS, resume=True)
    list(run.inputs(map(Input, PATHS)))
    with pytest.raises(ValueError, match="not that of the next input"):
        run.write(Record("a.jpg", failure=Failure("empty", "")))
    with pytest.raises(ValueError, match="1 predictions where the settings say 2"):
        run.write(Record("broken.jpg", (Prediction(1, 0, "x", 1.0),)))
    run.suspend()


def test_inputs_are_taken_one_by_one(output: Path) -> None:
    predict(output, "tsv", PATHS[:3])
    taken = []

    def found() -> Iterator[Input]:
        for path in PATHS:
            taken.append(path)
            yield Input(path)

    run = open_run("tsv", output, SETTINGS, resume=True)
    assert next(run.inputs(found())) == Input(PATHS[3])
    assert taken == PATHS[:4]
    run.suspend()
