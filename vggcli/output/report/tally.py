"""What a page says of a run as a whole: counts, classes, confidence, reasons.  Of all records, shown or not."""

from __future__ import annotations

from collections import Counter
from typing import Any

from vggcli.records import Record
from vggcli.text import escape

BINS = 20  # of confidence, 5 % each
SHOWN_CLASSES = 10  # of one image; its record has all
_MOST_REASONS = 200  # different ones, so that messages with file names in them do not fill the memory
_LONGEST = 1000  # characters of a path, a class or a reason: a page is no place for a megabyte of text
_MILLION = 1_000_000  # probabilities travel as whole millionths, the six decimals of every other format
OTHER_REASONS = "other reasons"


class Tally:
    """Counts records and makes the page's rows of them.

    Attributes:
        images: records taken.
        failed: those that are failures.
        truncated: classified images whose data ended early.
        unclassified: images without a class as probable as was asked for.
        missing: classified images that could not be read again for a thumbnail; whoever reads them counts.
        bins: classified images by the probability of their best class, from 0 to 1.
        reasons: failures by kind and message.
    """

    def __init__(self) -> None:
        self.images = self.failed = self.truncated = self.unclassified = self.missing = 0
        self.bins = [0] * BINS
        self.reasons: Counter[tuple[str, str]] = Counter()
        self._numbers: dict[tuple[int, str], int] = {}  # of a class, which is an index and a name
        self._counts: Counter[int] = Counter()  # images by their best class

    def row(self, record: Record) -> list[Any]:
        """Count a record.

        Returns:
            What the page knows of it: [path, kind, reason], or [path, 1 if truncated else 0, [class, millionths, ...]]
            with classes numbered as in `classes`. Texts are escaped.
        """
        self.images += 1
        path = _short(record.path or "")
        if record.failure is not None:
            self.failed += 1
            reason = record.failure.kind, _short(record.failure.message)
            known = reason in self.reasons or len(self.reasons) < _MOST_REASONS
            self.reasons[reason if known else (reason[0], OTHER_REASONS)] += 1
            return [path, *reason]
        self.truncated += record.truncated
        shown = record.predictions[:SHOWN_CLASSES]
        numbers = [self._numbers.setdefault((p.index, p.label), len(self._numbers)) for p in shown]
        if shown:
            self._counts[numbers[0]] += 1
            self.bins[bin_of(shown[0].probability)] += 1
        else:
            self.unclassified += 1
        pairs = zip(numbers, (millionths(p.probability) for p in shown), strict=True)
        return [path, int(record.truncated), [value for pair in pairs for value in pair]]

    def classes(self) -> list[list[Any]]:
        """[index, name, images that it is the best class of] of every class that occurs."""
        return [[index, _short(label), self._counts[number]] for (index, label), number in self._numbers.items()]

    def most_common_reasons(self) -> list[tuple[str, str, int]]:
        """Kind, message and how often."""
        return [(*reason, count) for reason, count in self.reasons.most_common()]

    def kinds(self) -> dict[str, int]:
        """Failures by kind, most frequent first."""
        counts: Counter[str] = Counter()
        for (kind, _), count in self.reasons.items():
            counts[kind] += count
        return dict(counts.most_common())


def millionths(probability: float) -> int:
    """A probability as a whole number; -1 for one that is no number."""
    return round(probability * _MILLION) if probability == probability else -1


def bin_of(probability: float) -> int:
    """The place of a probability among the bins; what is no number counts as 0."""
    return min(BINS - 1, max(0, millionths(probability)) * BINS // _MILLION)


def _short(text: str) -> str:
    return escape(text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}")
