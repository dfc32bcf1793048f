"""The driver's side without Ray: what is given out, what again, what an earlier run has done, and when it gives up."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from scale.scale_examples import PATHS, done, spooled, wave
from sink_examples import SETTINGS

from vggcli.errors import OutputError, StoppedError, UsageError
from vggcli.images.item import Input
from vggcli.scale import directory
from vggcli.scale.actors import Refusal, decode, encode
from vggcli.scale.attempts import Attempt
from vggcli.scale.blocks import Spooler
from vggcli.scale.directory import ClusterSettings
from vggcli.scale.nodes import as_error
from vggcli.scale.notes import Note
from vggcli.scale.run import ClusterRun, counts
from vggcli.scale.storage import Folder

FULL = OutputError("cannot write", "part-00000001.jsonl", "no space left on device", "Make room")


def cluster_run(storage: Folder, wave: object, *, first: int = 2, most: int = 3, size: int = 3) -> ClusterRun:
    return ClusterRun(storage, spooled(storage, size=size), "jsonl", wave, first=first, most=most)  # type: ignore[arg-type]


def refusal(number: int, error: OutputError = FULL) -> Refusal:
    return Refusal(number, type(error).__name__, (error.what, error.where, error.why, error.next_step), "node7")


def test_every_block_is_done_in_waves(tmp_path: Path) -> None:
    given: list[list[int]] = []

    def watched(numbers: Sequence[int]) -> Iterator[Note]:
        given.append(list(numbers))
        return wave(tmp_path)(reversed(numbers))  # type: ignore[arg-type]

    run = cluster_run(Folder(str(tmp_path)), watched)
    assert sorted(note.block for note in run.notes()) == [0, 1, 2, 3]
    assert given == [[0, 1, 2], [3]]
    assert (run.shards.finished, run.shards.rows, run.kept) == (4, len(PATHS), 0)


def test_blocks_are_done_while_inputs_are_looked_for(tmp_path: Path) -> None:
    storage, may_end = Folder(str(tmp_path)), threading.Event()

    def found() -> Iterator[Input]:
        yield from map(Input, PATHS)
        assert may_end.wait(30)
        yield Input("late.jpg")

    spooler = Spooler(storage, found(), 2)
    spooler.start()
    run = ClusterRun(storage, spooler, "jsonl", wave(tmp_path), first=1, most=9)  # type: ignore[arg-type]
    blocks = []
    for note in run.notes():
        blocks.append(note.block)
        if len(blocks) == 4:  # of 6, and the walk waits for this
            may_end.set()
    assert blocks == [0, 1, 2, 3, 4, 5]
    assert run.shards.rows == len(PATHS) + 1
    assert list(counts(spooler, lambda: False)) == [len(PATHS) + 1]


def test_what_is_whole_and_has_no_failures_is_kept(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    spooled(storage)
    done(storage, [0, 2, 3])  # 0 has a failure
    os.truncate(tmp_path / "part-00000003.jsonl", 5)
    given: list[int] = []

    def watched(numbers: Sequence[int]) -> Iterator[Note]:
        given.extend(numbers)
        return iter(done(storage, numbers, run="2"))

    run = cluster_run(storage, watched)
    run.keep()
    assert [note.block for note in run.notes()] == [0, 1, 3] == given
    assert (run.kept, run.shards.rows) == (3, len(PATHS))


def test_a_cluster_that_fails_is_given_the_rest_again(tmp_path: Path) -> None:
    waves = 0

    def breaks(numbers: Sequence[int]) -> Iterator[Note]:
        nonlocal waves
        waves += 1
        yield from wave(tmp_path)(numbers[:1])
        raise RuntimeError("the raylet is gone")

    run = cluster_run(Folder(str(tmp_path)), breaks, most=9)
    assert [note.block for note in run.notes()] == [0, 1, 2, 3]
    assert waves == 4


def test_a_cluster_that_does_nothing_is_given_up(tmp_path: Path) -> None:
    def dead(numbers: Sequence[int]) -> Iterator[Note]:
        raise RuntimeError("the raylet is gone\nand more")
        yield

    with pytest.raises(StoppedError, match=r"does no work \(the raylet is gone\)"):
        list(cluster_run(Folder(str(tmp_path)), dead).notes())


def test_a_refused_block_is_tried_elsewhere(tmp_path: Path) -> None:
    refused = 0

    def picky(numbers: Sequence[int]) -> Iterator[Note | Refusal]:
        nonlocal refused
        for number in numbers:
            if number == 1 and refused < 2:
                refused += 1
                yield refusal(number)
            else:
                yield from wave(tmp_path)([number])

    run = cluster_run(Folder(str(tmp_path)), picky)
    assert sorted(note.block for note in run.notes()) == [0, 1, 2, 3]
    assert refused == 2


@pytest.mark.parametrize("refuses", [{1}, {0, 1, 2, 3}])
def test_what_all_nodes_refuse_ends_the_run_with_their_words(refuses: set[int], tmp_path: Path) -> None:
    def full(numbers: Sequence[int]) -> Iterator[Note | Refusal]:
        for number in numbers:
            yield from [refusal(number)] if number in refuses else wave(tmp_path)([number])

    with pytest.raises(OutputError, match=r"no space left on device \(on node7\). Make room"):
        list(cluster_run(Folder(str(tmp_path)), full).notes())


def test_a_walk_that_fails_ends_the_run_behind_what_it_found(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))

    def found() -> Iterator[Input]:
        yield Input("a")
        raise UsageError("cannot read the list of inputs", "list.txt", "it is gone")

    spooler = Spooler(storage, found(), 1)
    spooler.start()
    run = ClusterRun(storage, spooler, "jsonl", wave(tmp_path), first=1, most=9)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="it is gone"):
        list(run.notes())


def test_a_stopped_run_gives_out_no_more(tmp_path: Path) -> None:
    run = cluster_run(Folder(str(tmp_path)), wave(tmp_path), first=1, most=1)
    notes = run.notes()
    next(notes)
    run.stop()
    assert list(notes) == []
    assert run.shards.finished < 4


def test_outcomes_travel_as_text() -> None:
    note = Note(7, 3, 9, "ab" * 32, {"empty": 1}, "run")
    assert decode(encode(note)) == note
    assert decode(encode(refusal(4))) == refusal(4)
    assert str(as_error("OutputError", refusal(4).arguments)) == str(FULL)
    assert as_error("KeyError", refusal(4).arguments).exit_code == 4


# Attempts


def test_a_trace_stays_of_an_attempt_that_died(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    for deaths in (0, 1):
        attempt = Attempt(storage, 5)
        attempt.__enter__()
        assert attempt.deaths == deaths
        assert [item.path for item in attempt.begun([Input("a"), Input("é\udcff")])] == ["a", "é\udcff"]
        # and here the process is gone
    head, *lines = (tmp_path / "attempts" / "00000005-2.jsonl").read_text().splitlines()
    assert json.loads(head)["process"] == os.getpid()
    assert [json.loads(line) for line in lines] == ["a", "é\udcff"]

    with Attempt(storage, 5) as last:
        assert last.deaths == 2
    assert list((tmp_path / "attempts").iterdir()) == []


def test_an_attempt_that_fails_in_good_order_is_no_death(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    for _ in range(3):
        attempt = Attempt(storage, 5)
        with pytest.raises(OSError, match="full"), attempt:
            raise OSError("full")
        assert attempt.deaths == 0


# The folder of a run


def settings(**changes: object) -> ClusterSettings:
    fields = {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}
    return ClusterSettings(**{**fields, "inputs": ("photos",), "block_size": 3, **changes})  # type: ignore[arg-type]


def test_a_folder_is_begun_and_gone_on_with(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path / "out"))
    directory.check(storage, resume=False, overwrite=False)
    assert not directory.begin(storage, "jsonl", settings(), resume=False)
    with pytest.raises(UsageError, match=r"there is a run in it. Add --resume"):
        directory.check(storage, resume=False, overwrite=False)
    directory.check(storage, resume=True, overwrite=False)
    assert directory.begin(storage, "jsonl", settings(version="9", device="cuda:0"), resume=True)


@pytest.mark.parametrize(
    ("changes", "format", "why"),
    [
        ({"block_size": 4}, "jsonl", "its block_size is 3, this run's is 4"),
        ({"inputs": ("others",)}, "jsonl", "its inputs is .'photos'., this run's is .'others'."),
        ({"top_k": 1, "recursive": True}, "jsonl", "its top_k is 2, this run's is 1; its recursive is False"),
        ({"weights_fingerprint": "sha256:1"}, "jsonl", "weights_fingerprint"),
        ({}, "csv", "its format is 'jsonl', this run's is 'csv'"),
    ],
)
def test_other_settings_are_refused_by_name(changes: dict[str, object], format: str, why: str, tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    directory.begin(storage, "jsonl", settings(), resume=False)
    with pytest.raises(UsageError, match=why):
        directory.begin(storage, format, settings(**changes), resume=True)


def test_a_run_begun_anew_leaves_nothing_of_the_old_one_and_all_that_is_not_ours(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    directory.begin(storage, "jsonl", settings(), resume=False)
    spooled(storage)
    done(storage, range(4))
    foreign = tmp_path / "blocks" / "holiday.jpg"
    foreign.write_bytes(b"mine")
    directory.check(storage, resume=False, overwrite=True)
    directory.begin(storage, "csv", settings(block_size=9), resume=False)

    assert sorted(path.name for path in tmp_path.rglob("*")) == ["blocks", "holiday.jpg", "run.json"]


def test_folders_with_other_things_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"it holds other files, e.g. holiday.jpg"):
            directory.check(Folder(str(tmp_path)), resume=False, overwrite=overwrite)


def test_two_runs_into_one_folder_are_refused(tmp_path: Path) -> None:
    one, other, again = (Folder(str(tmp_path)).reserve() for _ in range(3))
    with one, pytest.raises(UsageError, match="another run is writing it"), other:
        pass
    with again:
        pass


def test_the_manifest_counts_what_was_made(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    directory.begin(storage, "jsonl", settings(), resume=False)
    run = cluster_run(storage, wave(tmp_path, mended=False))
    assert sum(note.failed for note in run.notes()) == 3
    directory.write_manifest(storage, run.shards)

    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["inputs"], manifest["rows"], manifest["failures"]) == (10, 10, {"unreadable": 3})
    assert manifest["settings"] == directory.read_settings(storage)
    assert [shard["rows"] for shard in manifest["shards"]] == [3, 3, 3, 1]
    assert directory.begin(storage, "jsonl", settings(), resume=True)
    assert not (tmp_path / "manifest.json").exists()  # until it is true again
