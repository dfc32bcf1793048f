"""A file on a web server as a source of bytes, read in parts: `vgg inspect URL` without the download.

A checkpoint's structure is a few pieces in half a gigabyte: its beginning, its end (zip), or eight bytes before each of
97 storages (legacy). So a jump fetches little, reading on fetches more each time, and what was fetched is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING

from vggcli.errors import CheckpointError, DownloadError
from vggcli.web.headers import content_range, unsatisfied_length, validator
from vggcli.web.http import Client
from vggcli.web.retry import RetryPolicy, TransferError
from vggcli.web.urls import redacted
from vggcli.weights.checkpoint.problems import truncated
from vggcli.weights.checkpoint.source import WHAT
from vggcli.weights.download.pages import check_answer

if TYPE_CHECKING:
    import httpx

EDGE = 64 << 10  # bytes fetched at once at the beginning and at the end of the file
JUMP = 1 << 10  # least bytes fetched elsewhere: about what the request itself costs
LONGEST_RUN = 256 << 10  # most bytes fetched ahead of a reader that reads on and on
KEPT = 4 << 20  # bytes kept of what was fetched


class RemoteSource:
    """A `checkpoint.Source` at a URL, read by Range requests over one connection; use as a context manager.

    Attributes:
        name: the URL as it may be printed.
        size: length of the file in bytes.
        fetched: bytes of the file received so far.

    Raises:
        DownloadError: the file cannot be read this way; the message says why and what to do.
    """

    def __init__(self, url: str, retry_policy: RetryPolicy | None = None) -> None:
        self.name = redacted(url)
        self.size = 0
        self.fetched = 0
        self._url = url
        self._address = url  # where redirects led, so that they are followed once and not for every part
        self._retry_policy = retry_policy or RetryPolicy()
        self._validator: str | None = None
        self._pieces: OrderedDict[int, bytes] = OrderedDict()  # by offset in the file, least recently used first
        self._latest = (0, 0)  # begin and end of what was fetched last
        try:
            self._client = Client(self._retry_policy)
        except TransferError as trouble:
            raise self._error(trouble) from trouble
        try:
            self._keep(0, self._fetch(0, EDGE))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RemoteSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset` on.

        Raises:
            CheckpointError: the file ends before.
            DownloadError: the server does not give them, or the file has changed since it was opened.
        """
        end = offset + length
        if length <= 0:
            return b""
        if end > self.size:
            problem = truncated(self.size, end)
            raise CheckpointError(WHAT, self.name, problem.why, problem.next_step)
        for start in reversed(self._pieces):
            piece = self._pieces[start]
            if start <= offset and end <= start + len(piece):
                self._pieces.move_to_end(start)
                return piece[offset - start : end - start]
        begin, stop = self._plan(offset, end)
        piece = self._fetch(begin, stop)
        self._keep(begin, piece)
        return piece[offset - begin : end - begin]

    def _plan(self, offset: int, end: int) -> tuple[int, int]:
        """What to fetch so that offset to end is there: more at the file's end and for a reader that reads on."""
        tail = self.size - EDGE
        if offset >= tail:
            return max(tail, 0), self.size
        begin, stop = self._latest
        reading_on = begin < offset <= stop
        ahead = min(2 * (stop - begin), LONGEST_RUN) if reading_on else JUMP
        return offset, min(max(end, offset + ahead), self.size)

    def _keep(self, begin: int, piece: bytes) -> None:
        self._pieces[begin] = piece
        self._pieces.move_to_end(begin)
        self._latest = (begin, begin + len(piece))
        while len(self._pieces) > 1 and sum(map(len, self._pieces.values())) > KEPT:
            self._pieces.popitem(last=False)

    def _fetch(self, begin: int, stop: int) -> bytes:
        """The bytes from begin up to stop, tried again where that may help."""
        try:
            return self._retry_policy.run(lambda: self._ask(begin, stop))
        except TransferError as trouble:
            raise self._error(trouble) from trouble

    def _ask(self, begin: int, stop: int) -> bytes:
        headers = {"Range": f"bytes={begin}-{stop - 1}"}
        if self._validator:
            headers["If-Range"] = self._validator
        with self._client.get(self._address, headers) as response:
            check_answer(response)
            length = self._check(response, begin, stop)
            body = bytearray()
            for chunk in self._client.body(response):
                body += chunk
                if len(body) > length:
                    raise TransferError("the server sends more than it was asked for")
        if len(body) < length:
            raise TransferError("the connection was cut", passing=True)
        self.fetched += length
        return bytes(body)

    def _check(self, response: httpx.Response, begin: int, stop: int) -> int:
        """The length that this answer's body must have."""
        if self.size == 0:
            self._meet(response)
        status, version = response.status_code, validator(response)
        span = content_range(response)
        other_size = status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or (span and span.total != self.size)
        if other_size or (self._validator and version not in (None, self._validator)):
            raise TransferError("the file has changed on the server while it was read")
        if span is None or span.first != begin or span.last != min(stop, self.size) - 1:
            raise TransferError("the server sends another part of the file than it was asked for")
        return span.last + 1 - span.first

    def _meet(self, response: httpx.Response) -> None:
        """Learn from the first answer the file's size and version, and where redirects led."""
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            empty = unsatisfied_length(response) == 0
            raise TransferError("the file is empty" if empty else "the server refuses to send a part of the file")
        span = content_range(response)
        if response.status_code == HTTPStatus.OK or span is None:
            raise TransferError("the server cannot send parts of a file (no Range requests), only the whole")
        self.size, self._validator = span.total, validator(response)
        if "@" not in self._url:  # a login belongs to the first address, and httpx sends it along on redirects
            self._address = str(response.url)

    def _error(self, trouble: TransferError) -> DownloadError:
        next_step = "Download the file and give its path instead of the URL"
        return DownloadError(WHAT, self.name, trouble.why, next_step)
