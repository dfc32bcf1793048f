"""Images that are like others, in a file of vectors: the nearest of each query, or groups of near duplicates."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from vggcli.analysis import similarity
from vggcli.analysis.embeddings import EmbeddingFile
from vggcli.commands.console import Console
from vggcli.commands.queries import Queries, Query, SearchRequest
from vggcli.errors import UsageError
from vggcli.images.item import file_of
from vggcli.output.formats import choose_format
from vggcli.output.matches import Match, MatchCodec, Member, MemberCodec
from vggcli.output.sidecar import sidecar_path
from vggcli.output.sinks import Sink, open_sink
from vggcli.output.sources import check_output_is_no_source
from vggcli.output.stream import check_file
from vggcli.output.vectors import paths_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

DUPLICATES_LEAST = 0.95
# Of an image and itself in another precision; what is less need not be looked up on the disk.
_LEAST_OF_SELF = 0.98
_SPARE = 2  # candidates beyond those asked for, one of which is mostly the query itself


def search(request: SearchRequest, console: Console) -> int:
    """Find what is like each query of a request, or what is nearly the same.

    Returns:
        The exit code: 0 all found, 1 some queries failed or there were none, 130 or 143 interrupted.

    Raises:
        VggError: the search could not begin.
    """
    _check(request)
    codec: Any = MemberCodec() if request.duplicates else MatchCodec()
    format = choose_format(request.format, request.output, console.shows_results, codec.formats)
    if request.output is not None:
        check_file(request.output, replace=request.overwrite)
        arrays = [path for path in (request.features, request.queries) if path is not None]
        beside = [of(path) for path in arrays for of in (paths_path, sidecar_path)]
        named = (*arrays, *beside, request.files_from, request.settings.weights)
        check_output_is_no_source(request.output, request.inputs, named)
    if request.quiet:
        logging.getLogger("vggcli").setLevel(logging.WARNING)
    features = EmbeddingFile(request.features)
    if request.duplicates:
        return _group(request, features, console, format, codec)
    for row in request.rows:
        if row >= len(features):
            raise UsageError("cannot use --row", str(row), f"{request.features} has {len(features)} rows, from 0 on")
    queries = Queries(request, features, console)
    found = queries.found()  # what cannot be searched for is known before there is a file for what is found
    with _sink(request, format, codec) as sink:
        count, failed = _answer(request, features, found, sink)
    if queries.exit_code is not None:
        return queries.exit_code
    if not count:
        console.note("there was nothing to search for")
    return 1 if failed or not count else 0


def _check(request: SearchRequest) -> None:
    kinds = (request.has_images, request.queries is not None, bool(request.rows), request.duplicates)
    if sum(kinds) != 1:
        why = "there is nothing to search for" if not any(kinds) else "it is one kind of search at a time"
        raise UsageError(
            "cannot search", str(request.features), why, "Name images, --queries FILE, --row N or --duplicates"
        )
    least = request.min_similarity
    if least is not None and not -1 <= least <= 1:  # NaN is in no range, which a range of options lets pass
        raise UsageError("cannot use --min-similarity", f"{least:g}", "it must be from -1 to 1")
    if least is not None and request.duplicates and least <= 0:
        raise UsageError("cannot use --min-similarity", f"{least:g}", "for duplicates it must be above 0")


@contextmanager
def _sink(request: SearchRequest, format: str, codec: Any) -> Iterator[Sink[Any]]:
    sink = open_sink(format, request.output, codec, overwrite=request.overwrite)
    try:
        yield sink
    except BaseException:
        sink.suspend()
        raise
    sink.close()


def _answer(
    request: SearchRequest, features: EmbeddingFile, queries: Iterator[Query], sink: Sink[Match]
) -> tuple[int, int]:
    """Write what is found for each query; how many there were and how many failed."""
    count = failed = 0
    size = similarity.query_count(features.dimensions)
    while some := list(islice(queries, size)):
        for query, matches in zip(some, _matches(request, features, some), strict=True):
            for match in matches or [Match(query.name, failure=query.failure)]:
                sink.write(match)
            count, failed = count + 1, failed + (query.failure is not None)
    return count, failed


def _matches(request: SearchRequest, features: EmbeddingFile, queries: Sequence[Query]) -> list[list[Match]]:
    """The matches of each query, best first."""
    found: list[list[Match]] = [[] for _ in queries]
    todo = [number for number, query in enumerate(queries) if query.vector is not None]
    k = request.k if request.include_self else request.k + _SPARE
    while todo:
        vectors = np.stack([np.asarray(queries[number].vector, np.float32) for number in todo])
        nearest = similarity.nearest(
            features.vectors, similarity.directions(vectors)[0], min(k, max(len(features), 1)), request.threads
        )
        short = []
        for number, rows, cosines in zip(todo, nearest.rows, nearest.similarities, strict=True):
            found[number] = _of_one(request, features, queries[number], rows, cosines)
            # An image may stand in the file many times: then what is behind all these is still to be seen.
            is_cut = rows[-1] >= 0 and k < len(features)
            if len(found[number]) < request.k and is_cut and not _is_below(request, cosines[-1]):
                short.append(number)
        todo, k = short, 4 * k
    return found


def _is_below(request: SearchRequest, cosine: float) -> bool:
    return request.min_similarity is not None and cosine < request.min_similarity - similarity.ROUNDING


def _of_one(
    request: SearchRequest,
    features: EmbeddingFile,
    query: Query,
    rows: NDArray[np.int64],
    cosines: NDArray[np.float32],
) -> list[Match]:
    known = [row for row in rows.tolist() if row >= 0]
    matches: list[Match] = []
    for row, (path, _), cosine in zip(known, features.outcomes(known), cosines.tolist(), strict=False):
        if len(matches) == request.k or _is_below(request, cosine):
            break
        if request.include_self or not (row == query.row or _is_same(path, query.name, cosine)):
            matches.append(Match(query.name, path, len(matches) + 1, cosine))
    return matches


def _is_same(path: str, other: str, cosine: float) -> bool:
    """Whether two paths name one image, however they were written."""
    if path == other or cosine < _LEAST_OF_SELF:
        return path == other
    ours, others = file_of(path), file_of(other)
    try:
        return ours is not None and others is not None and os.path.realpath(ours) == os.path.realpath(others)
    except ValueError:  # a stranger's path, which can be no file's: a zero byte, half a surrogate pair
        return False


def _group(request: SearchRequest, features: EmbeddingFile, console: Console, format: str, codec: Any) -> int:
    """Write the groups of near duplicates; the exit code."""
    least = DUPLICATES_LEAST if request.min_similarity is None else request.min_similarity
    groups = similarity.Groups(len(features))
    with _sink(request, format, codec) as sink:
        with console.progress(not request.quiet, iter([len(features)])) as progress:
            for done in similarity.duplicates(features.vectors, least, request.threads, groups):
                progress.advance(done, 0)
        for number, members in enumerate(groups.members(), start=1):
            paths = features.outcomes(members.tolist())
            cosines = similarity.similarities_to_first(features.vectors, members)
            for (path, _), (_, cosine) in zip(paths, cosines, strict=True):
                sink.write(Member(number, path, cosine))
    return 0
