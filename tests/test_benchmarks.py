"""The benchmarks' arithmetic on made-up measurements, and one small real run."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Vgg

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

import comparison  # noqa: E402  (the benchmarks are scripts, not a package)
import contestants  # noqa: E402
import figures  # noqa: E402
import processes  # noqa: E402
import search  # noqa: E402
import startup  # noqa: E402
import whole  # noqa: E402
from comparison import Counts, Results  # noqa: E402
from materials import Materials  # noqa: E402
from report import report  # noqa: E402


def run_of(seconds: float) -> processes.Run:
    return processes.Run(first_seconds=0.5, seconds=seconds, cpu_seconds=1.0, peak_mb=100.0, rows=())


def round_of(first_answer: float, rate: float, whole: float, answers: dict[str, int]) -> figures.Round:
    return figures.Round(first_answer, rate, whole, peak_mb=1000.0, cpu=7.0, answers=answers)


def results() -> Results:
    """Ours at 40 to 60 images/s beside a plain script at 4 to 5 that agrees on one of two photos."""
    same, other = {"a": 1, "b": 2}, {"a": 1, "b": 3}
    return Results(
        rounds={
            "plain torchvision": [round_of(8.0, 5.0, 40.0, same), round_of(10.0, 4.0, 50.0, same)],
            "vgg": [round_of(1.0, 60.0, 4.0, other), round_of(2.0, 40.0, 5.0, other)],
        },
        forward={"forward only openvino": [{1: 30.0, 8: 75.0}, {1: 40.0, 8: 50.0}]},
        left_out={"timm": "timm not installed"},
    )


def cells(text: str, title: str, name: str) -> list[str]:
    """The row of a name in the first table after a title."""
    rows = text[text.index(title) :].splitlines()
    row = next(row for row in rows if row.startswith(f"| {name} "))
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_start_up_does_not_count_in_the_steady_state() -> None:
    assert figures.slope(run_of(3.0), run_of(7.0), 40, 200) == 40.0
    assert figures.slope(run_of(13.0), run_of(17.0), 40, 200) == 40.0


def test_runs_too_short_for_a_rate_give_a_dash_not_a_number() -> None:
    rate = figures.slope(run_of(3.0), run_of(2.9), 2, 6)
    assert math.isnan(rate)
    assert str(figures.spread([rate])) == "-"
    assert str(figures.spread([rate, 4.0])) == "4.00"


def test_spread_shows_median_smallest_and_largest() -> None:
    assert str(figures.spread([3.0, 1.0, 200.0])) == "3.00 (1.00..200)"
    assert str(figures.spread([12.345])) == "12.3"


def test_ratios_are_taken_within_each_round() -> None:
    # A machine that is half as fast in the second round changes neither ratio.
    assert figures.ratios([60.0, 30.0], [5.0, 2.5]) == figures.Spread(12.0, 12.0, 12.0)


def test_agreement_counts_missing_answers_as_different() -> None:
    assert figures.agreement({"a": 1, "b": 2, "c": 9}, {"a": 1, "b": 2, "c": 3, "d": 4}) == 50.0


def test_table_is_aligned_markdown() -> None:
    assert figures.table(["", "s"], [["vgg", "1"], ["a", "22"]]).splitlines() == [
        "|     | s  |",
        "| --- | -- |",
        "| vgg | 1  |",
        "| a   | 22 |",
    ]


def test_report_shows_medians_ratios_ceilings_and_who_was_left_out() -> None:
    text = report(results(), Counts(small=40, large=200, rounds=2))
    assert cells(text, "first answer", "vgg") == [
        "1.50 (1.00..2.00)",
        "50.0 (40.0..60.0)",
        "4.50 (4.00..5.00)",
        "7.00",
        "1000",
        "50.0",
    ]
    assert cells(text, "batch size", "forward only openvino") == ["35.0 (30.0..40.0)", "62.5 (50.0..75.0)"]
    assert cells(text, "Steady state", "plain torchvision") == ["11.0 (10.0..12.0)"]
    assert cells(text, "Steady state", "forward only openvino") == ["0.80"]
    assert cells(text, "First answer", "plain torchvision") == ["6.50 (5.00..8.00)"]
    assert cells(text, "Whole process, 200 photos", "plain torchvision") == ["0.10"]
    assert "Left out: timm: timm not installed" in text


def whole_rounds(**seconds: list[float]) -> dict[str, list[figures.Round]]:
    """By name, with underscores for spaces: whole-process seconds of each round, at 100 photos in 1 s less."""
    return {
        name.replace("_", " "): [
            figures.Round(0.5, 100 / (value - 1), value, peak_mb=100 * value, cpu=2 * value, answers={"a": 1})
            for value in values
        ]
        for name, values in seconds.items()
    }


def test_goals_are_judged_by_the_median_of_pairs_against_the_best_batch() -> None:
    rounds = whole_rounds(vgg=[4.0, 8.0, 5.0]) | {
        whole.HAND_WRITTEN[0]: whole_rounds(peer=[5.0, 9.0, 6.0])["peer"],
        whole.HAND_WRITTEN[1]: whole_rounds(peer=[4.0, 8.0, 4.0])["peer"],
    }
    lines = [goal.line(rounds) for goal in whole.goals(rounds)]

    assert lines[0] == [
        "seconds, vgg / hand-written, batch 16",
        "1.000",
        "at most 1.02",
        "reached",
        "1.00 1.00 1.25",
    ]
    assert [line[0] for line in lines] == [lines[0][0], "images/s, vgg / hand-written, batch 16"], "nobody else ran"


@pytest.mark.parametrize(("int8", "verdict"), [([2.0, 2.0], "reached"), ([4.0, 4.0], "missed")])
def test_int8_is_held_against_our_own(int8: list[float], verdict: str) -> None:
    rounds = whole_rounds(vgg_int8=int8, vgg_bf16=[4.0, 4.0], vgg_fp32=[9.0, 9.0])
    lines = [goal.line(rounds) for goal in whole.goals(rounds)]

    assert len(lines) == 5
    assert {line[3] for line in lines} == {verdict}
    assert lines[-1][:2] == ["peak memory, vgg int8 / vgg bf16", "0.500" if verdict == "reached" else "1.000"]


def test_whole_processes_show_every_round() -> None:
    text = "\n".join(whole.shown(whole_rounds(vgg=[4.0, 6.0, 5.0]), Counts(small=40, large=240, rounds=3)))

    assert cells(text, "Whole process, 240 photos", "vgg") == ["4.00", "6.00", "5.00", "5.00"]
    assert cells(text, "Steady state (240 against 40 photos)", "vgg") == ["33.3", "20.0", "25.0", "25.0"]
    assert cells(text, "Peak memory", "vgg") == ["400", "600", "500", "500"]


def test_rounds_go_forwards_and_backwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, weights = tmp_path / "a.jpg", tmp_path / "weights"
    photo.write_bytes(b"photo")
    weights.write_bytes(b"weights")
    order: list[str] = []

    def run(command: list[str]) -> processes.Run:
        order.append(command[0])
        return run_of(1.0)

    monkeypatch.setattr(comparison.processes, "run", run)
    fakes = [contestants.Contestant(name, (name,)) for name in ("a", "b")]
    comparison.take_turns(fakes, Materials(tmp_path, (photo,), weights), Counts(1, 2, 3))

    assert "".join(order) == "ab" + "aaabbb" + "bbbaaa" + "aaabbb"


@pytest.mark.parametrize("has_int8", [False, True])
def test_whole_processes_have_names_of_their_own_and_ours_comes_first(has_int8: bool) -> None:
    names = [entry.name for entry in contestants.whole_processes("bf16", has_int8)]

    assert names[0] == "vgg"
    assert set(whole.HAND_WRITTEN) < set(names)
    assert len(set(names)) == len(names)
    assert ("vgg int8" in names) is has_int8


def test_every_contestant_has_a_name_of_its_own_and_a_script_that_is_there() -> None:
    assert len(set(contestants.NAMES)) == len(contestants.NAMES)
    assert all(Path(entry.command[1]).is_file() for entry in contestants.PEERS)


def test_run_measures_the_process_and_keeps_its_rows() -> None:
    program = "print('notice'); print('a\\t1', flush=True); data = bytearray(80_000_000); print('b\\t2')"
    run = processes.run([sys.executable, "-c", program])
    assert run.rows == ("a\t1", "b\t2")
    assert 0 < run.first_seconds <= run.seconds
    assert run.peak_mb > 80
    assert run.cpu_seconds > 0


def test_failed_process_is_named_by_its_last_line_on_stderr() -> None:
    with pytest.raises(processes.FailedError, match=r"^no such weights$"):
        processes.run([sys.executable, "-c", "import sys; sys.exit('first\\nno such weights')"])
    with pytest.raises(processes.FailedError, match=r"No such file"):
        processes.run(["/nonexistent/program"])


@pytest.mark.skipif(sys.platform != "linux", reason="mincore(2) with Linux semantics")
def test_file_just_written_is_in_the_page_cache(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_000))
    assert startup.resident_bytes(path) >= 1_000_000


def test_who_cannot_run_is_left_out_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, weights = tmp_path / "a.jpg", tmp_path / "weights"
    photo.write_bytes(b"photo")
    weights.write_bytes(b"weights")
    answer_all = "import os, sys; [print(f'{name}\\t7') for name in os.listdir(sys.argv[2])]"
    fakes = (
        contestants.Contestant("good", (sys.executable, "-c", answer_all)),
        contestants.Contestant("absent", (sys.executable, "-c", answer_all), needs=("no_such_package",)),
        contestants.Contestant("broken", (sys.executable, "-c", "raise SystemExit('wrong keys')")),
    )
    monkeypatch.setattr(comparison, "PEERS", fakes)
    found = comparison.measure(Materials(tmp_path, (photo,), weights), Counts(1, 3, 2), ["good", "absent", "broken"])
    assert found.left_out == {"absent": "no_such_package not installed", "broken": "wrong keys"}
    answers = {"000000.jpg": 7, "000001.jpg": 7, "000002.jpg": 7}
    assert [entry.answers for entry in found.rounds["good"]] == [answers, answers]


@pytest.mark.long
def test_small_real_run_prints_the_table(tmp_path: Path) -> None:
    """With this tree's vgg, whatever is installed; how long anything took is no business of a test."""
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--weights", "demo", "--only", "vgg"]
    sizes = ["--small", "2", "--large", "4", "--rounds", "1", "--work", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run([*command, *sizes], capture_output=True, text=True, env=environment, check=False)

    assert done.returncode == 0, done.stderr
    assert "Left out" not in done.stdout, done.stdout
    row = cells(done.stdout, "first answer", "vgg")
    assert len(row) == 6
    assert all(re.fullmatch(r"\d+(\.\d+)?|-", cell) for cell in row), row
    assert row[-1] == "100"  # percent of the labels


def test_search_is_measured_on_vectors_that_it_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vgg: Vgg) -> None:
    def run(command: list[str]) -> processes.Run:
        rows = vgg(*command[1:]).out.splitlines()
        return processes.Run(math.nan, 1.5, 2.5, 100.0, tuple(rows))

    monkeypatch.setattr(processes, "run", run)
    monkeypatch.setattr(search, "DUPLICATES_ROWS", 200)

    rows = search.report(tmp_path, 300, 8, rounds=1).splitlines()[2:]

    assert [row.split("|")[1].strip() for row in rows] == ["top 10 of 100 in 300", "duplicates among 200"]
    with pytest.raises(processes.FailedError, match="there twice was not found"):
        search._row("x", tmp_path / "300.npy", ["--row", "1", "-k", "1"], 1)
