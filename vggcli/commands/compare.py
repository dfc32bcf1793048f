"""Two ways of running a network held against each other on the same images, which need no labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vggcli import __version__, files
from vggcli.classifier import Classifier
from vggcli.commands.console import Console
from vggcli.commands.interruption import Interruption
from vggcli.commands.listing import Listing
from vggcli.commands.named import NamedImages, access_of, exhaust, nothing_to, say_nothing, say_skipped
from vggcli.engines import choice
from vggcli.errors import UsageError
from vggcli.images import discover
from vggcli.library.paired import Compared, Pair, Paired, Tally
from vggcli.library.settings import Settings
from vggcli.network import zoo
from vggcli.output.stream import in_plain_words
from vggcli.weights import agreement_report
from vggcli.weights.agreement_report import LEAST_EQUAL, MOST_MEAN_CHANGE

COLUMNS = ("labels differ", "label", "probability", "against", "probability")


@dataclass(frozen=True)
class CompareRequest(NamedImages):
    """The options of one comparison; the fields have the names of the options.

    Attributes:
        settings: those of the classifier.
        against_weights, against_precision, against_engine: what the other side has of its own; None for the same.
        save: leave a report beside the weights, by which `--precision auto` then goes.
    """

    settings: Settings = field(default_factory=Settings)
    against_weights: str | None = None
    against_precision: str = "fp32"
    against_engine: str | None = None
    save: bool = False
    quiet: bool = False

    @property
    def against(self) -> Settings:
        """The settings of the other side."""
        s = self.settings
        own: dict[str, Any] = {"precision": self.against_precision, "engine": self.against_engine or s.engine}
        if self.against_weights is not None:
            own |= {"weights": self.against_weights, "arch": None, "calibration": None}
        return replace(s, **own)


def compare(request: CompareRequest, console: Console) -> tuple[Listing | None, int]:
    """Hold one side against the other on every input of a request.

    Returns:
        What was found, None when it was interrupted; and the exit code: 0 whether or not labels differ, 1 when inputs
        failed or there were none, 130 or 143 interrupted.

    Raises:
        VggError: the run could not begin, or ended before its last input.
    """
    request.check_named()
    for settings in (request.settings, request.against):
        choice.check(settings.engine, settings.device, settings.precision)
    if request.save:
        _check_saves(request)
    say = say_nothing if request.quiet else console.note
    skipped = discover.Skipped()
    found = request.find(skipped, access_of(request.settings))
    if request.fetch_would_be_vain(request.settings, request.against):
        exhaust(found)
        say_skipped(skipped, console.note, say)
        console.note(nothing_to("compare on"))
        return None, 1
    if request.quiet:
        logging.getLogger("vggcli").setLevel(logging.WARNING)
    progress = None if request.quiet else console.transfer
    ours, other = (Classifier(settings, progress=progress) for settings in (request.settings, request.against))
    for text in dict.fromkeys((ours.warning, other.warning) if request.quiet else (*ours.notes, *other.notes)):
        if text:
            console.note(text)
    if request.save:
        _check_report(ours.model.path)
    run = _Comparison(request, ours, other, console)
    code = run.run(found)
    if code > 1:  # the process is about to end, and closing would wait for what runs on the engines
        return None, code
    say_skipped(skipped, console.note, say)
    if run.is_empty:
        console.note(nothing_to("compare on"))
        code = 0 if request.allow_empty else 1
    found_out, side, against = run.tally.result(), _Side(ours), _Side(other)
    if side.data == against.data and ours.model.path == other.model.path:
        console.note("both sides are the same; --precision bf16, for one, makes them differ")
    if request.save and run.tally.counted:
        console.note(_save(found_out, ours, side))
    listing = _listing(found_out, side, against)
    for classifier in (ours, other):
        classifier.close()
    return listing, code


def _check_saves(request: CompareRequest) -> None:
    """Refuse a report of something else than one file's own precision."""
    settings, what = request.settings, "cannot save"
    if request.against_weights is not None or request.against_precision != "fp32":
        why = "it is about one file, held against its own fp32"
        raise UsageError(what, "a report", why, "Leave out --save, or --against-weights and --against-precision")
    if settings.precision != "bf16":
        raise UsageError(what, "a report", "it is about bf16", "Add --precision bf16")
    if settings.weights == zoo.DEMO:
        raise UsageError(what, "a report", "the demo ships with vgg, and nothing is kept beside it", "Leave out --save")


def _check_report(weights: Path) -> None:
    """Find out that a report could not be written before everything is computed."""
    path = agreement_report.report_path(weights)
    with in_plain_words(path, resumable=False):
        files.check_replaceable(path)


def _save(found: Compared, ours: Classifier, side: _Side) -> str:
    """Leave the report; what to say of it."""
    path = agreement_report.report_path(ours.model.path)
    about = {"vgg": __version__, "ran": side.data}
    with in_plain_words(path, resumable=False):
        report = agreement_report.save(ours.model.path, ours.precision, found.agreement.to_json(), about)
    if report.is_harmless:
        then = "--precision auto takes bf16 for these weights where it is the fast type"
    else:
        then = f"--precision auto goes on as before, as it asks for {LEAST_EQUAL:.0%} equal labels at 95 % confidence"
        then += f" and a mean change of {MOST_MEAN_CHANGE}"
    return f"wrote {path}: {then}"


class _Side:
    """What ran, for people and as JSON."""

    def __init__(self, classifier: Classifier) -> None:
        self.data = {
            "weights": classifier.model.name,
            "variant": classifier.variant,
            "preprocessing": classifier.preprocessing,
            "engine": classifier.engine,
            "device": classifier.device,
            "precision": classifier.precision,
        }

    def __str__(self) -> str:
        return "{variant}, weights {weights}, {preprocessing}, {engine} engine on {device} in {precision}".format(
            **self.data
        )


class _Comparison:
    """One run: the pipeline's results counted."""

    def __init__(self, request: CompareRequest, ours: Classifier, other: Classifier, console: Console) -> None:
        self._request, self._console = request, console
        self._both = Paired(ours, other)
        self.tally = Tally()
        self._interruption = Interruption(console, self._say_interrupted)

    @property
    def is_empty(self) -> bool:
        """Whether there was no input at all."""
        return not (self.tally.counted or self.tally.failed)

    def run(self, found: Iterator[discover.Input]) -> int:
        """All inputs counted; the exit code."""
        request, console = self._request, self._console
        pipeline = self._both.pipeline(found)
        try:
            # Nothing is printed before the end, so that the terminal is the bar's until then.
            with (
                self._interruption.watching(pipeline),
                console.progress(not request.quiet, request.count()) as progress,
            ):
                for pair in map(self._both.pair, pipeline.results()):
                    self._take(pair)
                    progress.advance(self.tally.counted, self.tally.failed)
        finally:
            pipeline.stop()
        if self._interruption.signal is not None:
            self._say_interrupted()
            return self._interruption.exit_code
        return 1 if self.tally.failed else 0

    def _take(self, pair: Pair) -> None:
        self.tally.add(pair)
        if pair.failure is not None:
            self._console.note(f"cannot compare on {pair.path or chr(39) * 2}: {pair.failure.message}")

    def _say_interrupted(self) -> None:
        self._console.note(f"interrupted after {self.tally.counted} images: nothing is printed")


def _listing(found: Compared, side: _Side, against: _Side) -> Listing:
    rows = [
        (
            p.path or "",
            _named(p.labels),
            _rounded(p.probability),
            _named(p.against_labels),
            _rounded(p.against_probability),
        )
        for p in found.differing
    ]
    agreement = found.agreement
    figures = {key: value for key, value in found.to_json().items() if not isinstance(value, list | dict)}
    low, high = agreement.interval
    plain: list[tuple[str | int | float, ...]] = [("weights", str(side)), ("against", str(against))]
    plain += [
        (key, "" if value is None else _rounded(value) if isinstance(value, float) else value)
        for key, value in figures.items()
    ]
    plain += [("interval_low", _rounded(low)), ("interval_high", _rounded(high)), ("failed", found.failed)]
    plain += [("differs", *row) for row in rows]
    data = {"weights": side.data, "against": against.data, **found.to_json()}
    facts = {"weights": str(side), "against": str(against), "images": _counts(found)}
    if agreement.images:
        facts |= {
            "equal": f"{agreement.equal_labels} labels, {agreement.equal_share:.2%}"
            f" ({low:.2%} to {high:.2%} with 95 % confidence)",
            "top 5": f"{agreement.top5_overlap:.2%} of the best classes in common",
            "mean change": f"{agreement.mean_change:.6f} of the best class's probability",
            "largest": f"{agreement.largest_change:.6f}" + (f", {found.largest_at}" if found.largest_at else ""),
        }
    return Listing(COLUMNS if rows else (), rows, data, plain=plain, facts=facts)


def _counts(found: Compared) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.failures.items()))
    return f"{found.agreement.images:,}" + (f", and {found.failed} failed ({kinds})" if kinds else "")


def _named(labels: tuple[str, ...]) -> str:
    return ", ".join(labels) or "none"


def _rounded(value: float) -> str:
    return f"{value:.6f}"
