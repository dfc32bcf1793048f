"""The two verbs of `vgg predict` that know shards: `--ray` makes them, `--join` makes one file of them."""

from __future__ import annotations

import os
from pathlib import Path

from vggcli.commands.console import Console
from vggcli.commands.request import Request
from vggcli.engines import choice
from vggcli.errors import UsageError
from vggcli.images import discover
from vggcli.output.formats import FOR_PROGRAMS, Format, choose_format
from vggcli.output.stream import check_file, is_regular, is_stdout
from vggcli.scale.blocks import DEFAULT_BLOCK_SIZE
from vggcli.scale.join import Joined
from vggcli.scale.storage import open_storage


def predict_in_shards(
    request: Request, output: str | None, console: Console, *, ray: str | None, block_size: int | None, join: str | None
) -> int:
    """What `--ray`, `--block-size` and `--join` ask for.

    Args:
        output: of `-o`, as given: a URL is no path.

    Returns:
        The exit code: 0 all classified, 1 some failed, 130 or 143 interrupted.

    Raises:
        VggError: they contradict each other, or as the two verbs.
    """
    if join is not None:
        given = (
            (ray, "--ray"),
            (block_size, "--block-size"),
            (request.inputs, "inputs"),
            (request.files_from, "lists"),
            (request.report, "--report"),
            (request.show, "--show"),
        )
        for value, name in given:
            if value:
                raise UsageError("--join", "", f"it classifies nothing, so it takes no {name}", "Leave them out")
        return join_shards(request, join, console)
    if ray is None:
        raise UsageError("--block-size", "", "it says how large shards are, and there are none", "Add --ray")
    where, format = _checked(request, output)
    from vggcli.commands.cluster import OnCluster, predict_on_cluster

    return predict_on_cluster(request, OnCluster(ray, where, format, block_size or DEFAULT_BLOCK_SIZE), console)


def join_shards(request: Request, where: str, console: Console) -> int:
    """Make one file, in input order, of the shards of a finished run.

    Returns:
        The exit code: 0, or 1 when some of its inputs have failed.

    Raises:
        UsageError: it is not finished, or the output is of another format or exists.
        OutputError: it cannot be written.
    """
    joined = Joined(open_storage(where))
    to_stdout = is_stdout(request.output)
    asked = joined.format if to_stdout and request.format == "auto" and joined.format != "parquet" else request.format
    format = choose_format("jsonl" if to_stdout and asked == "auto" else asked, request.output, is_terminal=False)
    if request.output is not None and not to_stdout:
        check_file(request.output, replace=request.overwrite)
        if is_regular(request.output) and os.path.realpath(request.output.parent) == os.path.realpath(where):
            step = "Name another folder with -o"
            raise UsageError("cannot write", str(request.output), "it would lie among the shards", step)
    joined.write(format, request.output)
    if not request.quiet:
        what = request.output if request.output is not None and not to_stdout else Path("standard output")
        console.note(f"{joined.rows} rows of {joined.blocks} shards are in {what}")
    return 1 if joined.failed else 0


def _checked(request: Request, where: str | None) -> tuple[str, Format]:
    """The output and its format; UsageError for what cannot be done on a cluster."""
    request.check_named()
    choice.check(request.settings.engine, request.settings.device)
    if where is None or where == discover.STDIN:
        raise UsageError("cannot run on a cluster", "", "it writes shards into a folder", "Name a folder with -o DIR")
    if os.path.isfile(where):
        raise UsageError("cannot write shards into", where, "it is a file", "Name a folder with -o DIR")
    if request.sort_into is not None or request.dry_run or request.link:
        step = "Join the shards and sort by their rows"
        raise UsageError("--sort-into", "", "a cluster's nodes do not sort images", step)
    if request.report is not None:
        step = "Join the shards, and vgg report makes it of them"
        raise UsageError("--report", "", "a cluster's nodes make no thumbnails", step)
    if request.show:
        raise UsageError("--show", "", "a cluster's images are not seen here", "Leave it out")
    if discover.STDIN in request.inputs:
        raise UsageError("cannot take", discover.STDIN, "the nodes of a cluster cannot read it", "Name a file")
    asked = "jsonl" if request.format == "auto" else request.format
    for format in FOR_PROGRAMS:
        if format == asked:
            return where, format
    raise UsageError("no such format of shards", asked, "", f"Known are {', '.join(FOR_PROGRAMS)}")
