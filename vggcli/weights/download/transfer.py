"""A resumable, verified download of one file over HTTP.

The bytes go to `<target>.part` (see `partial`); the target appears only when the SHA-256 of that file is right. A lock
file lets one process fetch while others wait for its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from vggcli.errors import AbsentError, DownloadError
from vggcli.web.headers import content_length, content_range, unsatisfied_length, validator
from vggcli.web.http import Client
from vggcli.web.retry import RetryPolicy, TransferError
from vggcli.web.urls import redacted
from vggcli.weights.download.lock import locked
from vggcli.weights.download.pages import check_answer, check_not_html
from vggcli.weights.download.partial import PartialFile, partial_path
from vggcli.weights.download.progress import LoggedProgress, Progress

if TYPE_CHECKING:
    import httpx

# No weights file of the family exceeds 0.6 GB; a server that sends more than this is not sending one.
MAX_BYTES = 2 << 30
# A try that brings less is a vain one: at a byte a second every try brings something.
_PROGRESS_BYTES = 4 << 10


def download(
    url: str,
    target: Path,
    sha256_prefix: str,
    *,
    progress: Callable[[str], Progress] | None = None,
    retry_policy: RetryPolicy | None = None,
) -> Path:
    """Fetch `url` to `target`, going on where an earlier run stopped; returns `target`.

    Args:
        url: HTTPS, or plain HTTP where the person typed it; redirects from HTTPS to HTTP are refused.
        target: where the file belongs; its folder is made. A file that is there already (not an empty one) is
            returned as it is.
        sha256_prefix: hexadecimal digits that the file's SHA-256 begins with.
        progress: makes, from the file's name, what is told how it goes; None logs notes to the logger "vggcli".
        retry_policy: timeouts and retries.

    Raises:
        DownloadError: it cannot be fetched; names the URL and where a file fetched by hand belongs. What was received
            is kept for the next run. So it is on KeyboardInterrupt, which passes through.
    """
    told = (progress or LoggedProgress)(target.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target, told):
            if not _is_there(target):
                policy = retry_policy or RetryPolicy()
                with Client(policy) as client, PartialFile(target) as partial:
                    _Transfer(url, sha256_prefix, client, partial, told, policy).run()
    except TransferError as trouble:
        if _is_there(target):
            return target  # a process out of the lock's reach was faster, and has verified it
        raise (AbsentError if trouble.absent else DownloadError)(
            "cannot download",
            redacted(url),
            trouble.why,
            f"{_advice(target, trouble.passing)}, or fetch the file in another way and save it as {target}",
        ) from trouble
    except OSError as error:
        raise DownloadError(
            "cannot download",
            redacted(url),
            f"cannot write {error.filename or target.parent} ({error.strerror or error})",
            f"Make {target.parent} writable, or set TORCH_HOME to a folder that is;"
            f" a file fetched in another way belongs at {target}",
        ) from error
    finally:
        told.close()
    return target


def _is_there(target: Path) -> bool:
    return target.is_file() and target.stat().st_size > 0


def _advice(target: Path, passing: bool) -> str:
    """Whether to try again, and what the next run will not have to fetch."""
    with suppress(OSError):
        return f"Try again later (it will go on at {partial_path(target).stat().st_size / 1e6:.1f} MB)"
    return "Try again later" if passing else "Try another --mirror"


class _Transfer:
    """The answers, one after the other, that make up one file."""

    def __init__(
        self,
        url: str,
        sha256_prefix: str,
        client: Client,
        partial: PartialFile,
        progress: Progress,
        retry_policy: RetryPolicy,
    ) -> None:
        self.url, self.sha256_prefix = url, sha256_prefix.lower()
        self.client, self.partial = client, partial
        self.progress, self.retry_policy = progress, retry_policy
        self.ranges = True  # False once the server has answered a range with something else
        self.doubted = False  # True once a pieced-together file had the wrong hash and was fetched anew
        self.most = -1  # bytes received after the best try

    def run(self) -> None:
        """Receive until the file is whole, right and in place.

        Raises:
            TransferError: it will not be, or not soon.
            OSError: the partial file cannot be written.
        """
        self.retry_policy.run(self._attempt, self._has_grown, self._say_retry)

    def _attempt(self) -> None:
        """Ask until the file is whole, right and in place: again at once after an answer that says how to ask."""
        try:
            while not self._receive():
                pass
        except TransferError as trouble:
            if trouble.wait_s is None or trouble.wait_s <= self.retry_policy.max_delay_s:
                raise
            minutes = f"{trouble.wait_s / 60:.0f} minutes"
            raise TransferError(f"{trouble.why}; it asks to come back in {minutes}") from trouble

    def _has_grown(self) -> bool:
        before, self.most = self.most, max(self.most, self.partial.size)
        return self.most - before >= _PROGRESS_BYTES

    def _say_retry(self, trouble: TransferError, delay_s: float) -> None:
        have = f" at {self.partial.size / 1e6:.1f} MB" if self.partial.size else ""
        self.progress.note(f"{trouble.why}{have}; trying again in {delay_s:.1f} s")

    def _receive(self) -> bool:
        """One request and its answer; True when the file is whole, right and in place."""
        resuming = self.partial.size > 0 and self.ranges
        with self.client.get(self.url, self._headers() if resuming else {}) as response:
            check_answer(response)
            status = response.status_code
            if status == HTTPStatus.OK or (resuming and self._continues(response)):
                if status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    self._take(response)
            elif resuming:
                self.ranges = False  # this server cannot continue: next, ask for the whole file
                return False
            else:
                raise TransferError("the server sends a part that nobody asked for")
        return self._verify_and_place()

    def _headers(self) -> dict[str, str]:
        """Ask for what follows the bytes received, provided that the file is still the same."""
        headers = {"Range": f"bytes={self.partial.size}-"}
        if self.partial.validator:
            headers["If-Range"] = self.partial.validator
        return headers

    def _continues(self, response: httpx.Response) -> bool:
        """Whether an answer other than the whole file goes on exactly where the bytes received end."""
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return unsatisfied_length(response) == self.partial.size  # nothing follows: it was whole already
        span, length = content_range(response), content_length(response)
        if span is None or span.first != self.partial.size or self.partial.total not in (None, span.total):
            return False
        if length not in (None, span.last + 1 - span.first):
            return False
        self.partial.total, self.partial.pieced = span.total, True
        return True

    def _take(self, response: httpx.Response) -> None:
        """Append the body, or begin anew with it when it is the whole file."""
        whole = response.status_code == HTTPStatus.OK
        total = content_length(response) if whole else self.partial.total
        if total is not None and total > MAX_BYTES:
            raise TransferError(f"the server announces {total / 1e9:,.1f} GB, more than any weights file has")
        chunks = self.client.body(response)
        if whole:
            # The first answer, a server without ranges, or a file that has changed. Looked at before what is here is
            # given up for it: a login page must not cost that.
            head = next(chunks, b"")
            check_not_html(head)
            self.partial.restart(total, validator(response))
            chunks = chain((head,), chunks)
        self.partial.check_room()
        self.progress.begin(self.partial.size, total)
        self._copy(chunks)

    def _copy(self, chunks: Iterator[bytes]) -> None:
        limit = MAX_BYTES if self.partial.total is None else self.partial.total
        for chunk in chunks:
            if self.partial.size + len(chunk) > limit:
                self.partial.discard()
                raise TransferError("the server sends more than the file it announced")
            self.partial.write(chunk)
            self.progress.moved(self.partial.size)

    def _verify_and_place(self) -> bool:
        """Check what was received and put it in place; False when it must be fetched anew."""
        if self.partial.total is not None and self.partial.size < self.partial.total:
            raise TransferError("the server sent only a part of the file", passing=True)
        digest = self.partial.sha256()
        if digest.startswith(self.sha256_prefix):
            self.partial.finish()
            return True
        if self.partial.pieced and not self.doubted:
            # The pieces may come from different files, or a crash may have spoiled the first: one fresh try decides.
            self.progress.note("the pieces do not make up the right file; fetching it anew")
            self.doubted = True
            self.partial.restart(None, None)
            return False
        check_not_html(self.partial.head(64))
        cut = "; the server does not say how long the file is, it may have been cut" * (self.partial.total is None)
        wrong = digest[: len(self.sha256_prefix)]
        aside = self.partial.set_aside()
        raise TransferError(
            f"the file is not the right one: its SHA-256 begins with {wrong}, not {self.sha256_prefix}{cut};"
            f" it is kept as {aside}"
        )
