"""`--sort-into` in a run: which images are sorted, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vggcli.errors import InputError, UsageError
from vggcli.images.access import Access
from vggcli.images.item import Input
from vggcli.output.sorting import Sorter
from vggcli.records import Record


class Sorting:
    """The images of one run into the folders of their classes, where that was asked for.

    Args:
        folder: that of `--sort-into`; None to sort nothing.
        inputs: as named, which must not lie in it.
        recursive: whether their subfolders are searched.
        access: how archives and addresses are read.
        note: says a failure.
        say: says what --quiet hides.

    Attributes:
        failed: images that could not be sorted.

    Raises:
        UsageError: it cannot go well; nothing has been done.
    """

    def __init__(
        self,
        folder: Path | None,
        inputs: Sequence[str],
        recursive: bool,
        *,
        link: bool,
        dry_run: bool,
        access: Access,
        note: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._dry_run, self._note, self._say = folder, dry_run, note, say
        self._verb = "link" if link else "copy"
        self._sorter = None if folder is None else Sorter(folder, link=link, dry_run=dry_run, access=access)
        self.failed = 0
        if self._sorter is not None:
            self._sorter.check(inputs, recursive)
        for option, given in (("--link", link), ("--dry-run", dry_run)):
            if given and folder is None:
                raise UsageError(option, "", "it says how --sort-into works, and there is none", "Add --sort-into")

    def take(self, record: Record, item: Input) -> None:
        """Sort the image of a record, unless it failed or has no class; see `Sorter.place` for the errors."""
        if record.predictions:
            self.take_image(item, record.predictions[0].label)

    def take_image(self, item: Input, label: str) -> None:
        """Sort an image whose best class is this one."""
        if self._sorter is None or item.path is None:
            return
        try:
            target = self._sorter.place(item, label)
        except InputError as error:
            self.failed += 1
            self._note(f"cannot sort {item.path}: {error.why}")
            return
        if target is not None and self._dry_run:
            self._say(f"would {self._verb} {item.path} to {target}")

    def counts(self) -> str:
        """A part of the run's last line."""
        if self._sorter is None:
            return ""
        return f", {self._sorter.placed} {'to be sorted' if self._dry_run else 'sorted'} into {self._folder}"
