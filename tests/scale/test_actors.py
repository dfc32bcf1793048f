"""What an actor does with a block, called in this process: reads, classifies, writes, and lets no exception out."""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from predict_examples import DIGITS, digit

import vggcli
from vggcli.images.item import Archive, Input
from vggcli.library.settings import Settings
from vggcli.scale import actors
from vggcli.scale.actors import BlockActor, Job, Refusal, decode
from vggcli.scale.attempts import Attempt
from vggcli.scale.blocks import Block, write_block
from vggcli.scale.isolation import Question, classify
from vggcli.scale.notes import Note
from vggcli.scale.storage import Folder

SETTINGS = Settings(weights="demo", engine="openvino", precision="fp32", device="cpu", threads=1, workers=1)
POISON = Path(__file__).parent / "poison"


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    from vggcli.commands.provenance import Computing, provenance_of

    where = tmp_path_factory.mktemp("run")
    with vggcli.Classifier(SETTINGS) as classifier:
        provenance = provenance_of(classifier, classifier.selection(1), Computing("openvino", "cpu", "fp32"))
    return Job(SETTINGS, Question(1, None), provenance, str(where), "jsonl", "run", str(DIGITS), retries=True)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(actors, "_LONGEST_PAUSE_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)  # put back afterwards: an actor goes where its driver was


def outcome(job: Job, block: Block, number: int = 0) -> tuple[Note | Refusal, list[dict[str, object]]]:
    """What an actor says of a block, and its rows."""
    storage = Folder(job.where)
    write_block(storage, number, block)
    (text,) = BlockActor(job)({actors.ROW: [number]})[actors.OUTCOME]
    shard = Path(job.where) / f"part-{number:08}.jsonl"
    rows = [json.loads(line) for line in shard.read_text().splitlines()] if shard.exists() else []
    return decode(text), rows


def test_relative_paths_begin_where_the_driver_was(job: Job) -> None:
    said, rows = outcome(job, Block((Input("seven.png"), Input("none.png"))))

    assert isinstance(said, Note)
    assert (said.rows, said.failures) == (2, {"missing": 1})
    assert [row["path"] for row in rows] == ["seven.png", "none.png"]
    assert rows[0]["predictions"][0]["label"] == "seven"  # type: ignore[index]
    assert list((Path(job.where) / "attempts").iterdir()) == []


def test_an_archive_is_read_through_and_what_it_is_cut_to_is_one_failure(job: Job, tmp_path: Path) -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for label in ("two", "five", "nine"):
            tar.add(digit(label), f"../{label}.png")
    (tmp_path / "a.tar").write_bytes(whole.getvalue())
    (tmp_path / "cut.tar").write_bytes(whole.getvalue()[:-10240][:1700])

    said, rows = outcome(job, Block((Archive(str(tmp_path / "a.tar")),)), 1)
    assert isinstance(said, Note)
    assert (said.rows, said.failures) == (3, {})
    assert [row["path"] for row in rows] == [f"{tmp_path}/a.tar::../{label}.png" for label in ("two", "five", "nine")]
    said, rows = outcome(job, Block((Archive(str(tmp_path / "cut.tar")),)), 2)
    assert isinstance(said, Note)
    assert [row["status"] for row in rows] == ["ok"] * (said.rows - 1) + ["error"]


def test_no_exception_leaves_a_block(job: Job) -> None:
    others = replace(job, provenance=replace(job.provenance, weights_fingerprint="sha256:0"))
    said, rows = outcome(others, Block((Input("seven.png"),)), 3)
    assert isinstance(said, Refusal)
    assert said.error == "WeightsError"
    assert "are not those of the machine that began the run" in said.arguments[2]
    assert rows == []
    assert list((Path(job.where) / "attempts").iterdir()) == []

    lost = replace(job, folder="/nowhere/at/all")
    said, _ = outcome(lost, Block((Input("seven.png"),)), 4)
    assert isinstance(said, Refusal)
    assert "there is no folder /nowhere/at/all" in said.arguments[2]
    said, rows = outcome(lost, Block((Input(str(digit("seven"))),)), 5)
    assert isinstance(said, Note)
    assert rows[0]["status"] == "ok"

    (text,) = BlockActor(job)({actors.ROW: [77]})[actors.OUTCOME]
    said = decode(text)
    assert isinstance(said, Refusal)
    assert "FileNotFoundError" in said.arguments[2]


def test_after_two_deaths_each_input_is_read_apart_and_the_guilty_one_has_crashed(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Children inherit the decoder that ends its process; this one has it not, and would classify the image."""
    (tmp_path / "poison.png").write_bytes(digit("seven").read_bytes())
    names = [digit("one"), tmp_path / "poison.png", digit("two"), tmp_path / "none.png"]
    for _ in range(2):
        Attempt(Folder(job.where), 6).__enter__()
    monkeypatch.setenv("PYTHONPATH", f"{POISON}{os.pathsep}{Path(vggcli.__file__).parent.parent}")
    said, rows = outcome(job, Block(tuple(Input(str(name)) for name in names)), 6)

    assert isinstance(said, Note)
    assert said.failures == {"crashed": 1, "missing": 1}
    assert rows[1]["error"] == {"kind": "crashed", "message": "the process that read it ended with exit code 86"}
    with vggcli.Classifier(SETTINGS) as classifier:
        known = {record.path: record for record in classifier.predict([str(name) for name in names], top_k=1)}
    for row in (rows[0], rows[2]):
        best = known[str(row["path"])].predictions[0]
        assert row["predictions"] == [
            {"rank": 1, "index": best.index, "label": best.label, "probability": round(best.probability, 6)}
        ]
    assert list((Path(job.where) / "attempts").iterdir()) == []


def test_a_child_that_cannot_open_its_network_is_not_the_fault_of_an_image(tmp_path: Path) -> None:
    missing = replace(SETTINGS, weights=str(tmp_path / "none.pth"))
    with pytest.raises(vggcli.DeviceError, match="the process for them ended with exit code 1"):
        list(classify(missing, Question(1, None), [Input("a.png")]))
