"""The main verb: inputs in, one record each out, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator

from vggcli.cli.notes import note, stdout_is_terminal
from vggcli.commands.session import Request, Session
from vggcli.engines import choice
from vggcli.images import discover
from vggcli.network import zoo
from vggcli.output.formats import choose_format
from vggcli.output.stream import check_file
from vggcli.weights.locate import DEMO_FILE, locate
from vggcli.weights.model import Model, open_model


def predict(request: Request) -> int:
    """Classify every input of a request.

    Returns:
        The exit code: 0 all classified, 1 some failed, 130 or 143 interrupted.

    Raises:
        VggError: the run could not begin, or ended before its last input (`StoppedError` after too many failures).
    """
    discover.check(request.inputs, request.files_from, request.null)
    choice.check(request.engine, request.device)
    format = choose_format(request.format, request.output, stdout_is_terminal())
    if request.output is not None:
        check_file(request.output, replace=request.resume or request.overwrite)
    skipped = discover.Skipped()
    found = discover.discover(
        request.inputs, skipped, recursive=request.recursive, files_from=request.files_from, null=request.null
    )
    path = locate(request.weights, request.arch, request.fetch)
    model = open_model(path, request.arch, request.labels)
    for text in _notes(model):
        note(text)
    session = Session(request, model, format, found)
    try:
        code = session.run()
    finally:
        model.close()
    _say_skipped(skipped)
    return code


def _notes(model: Model) -> Iterator[str]:
    if model.path == DEMO_FILE:
        yield f"the demo weights are {zoo.DEMO_WHAT}"
    yield from (f"{model.path.name}: {text}" for text in model.notes)


def _say_skipped(skipped: discover.Skipped) -> None:
    files, folders = skipped.files, skipped.folders
    if files.count:
        count = f"{files.count} file{'s' * (files.count > 1)}"
        note(f"passed over {count} not named as images and without an image's first bytes, e.g. {files.example}")
    if folders.count:
        count = f"{folders.count} folder{'s' * (folders.count > 1)}"
        note(f"passed over {count} inside those named, e.g. {folders.example}; --recursive descends into them")
    for folder in skipped.empty_folders:
        note(f"no images in {folder}")
