"""Blocks to Ray Data and their outcomes back, a bounded number of blocks at a time.

Ray keeps some 12 KB in the driver for each task of a dataset (measured with 2.60), so a run is a series of datasets:
the driver's memory does not grow with the number of blocks, and the first ones are done while others are looked for.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from typing import Any

from vggcli.scale.actors import OUTCOME, ROW, BlockActor, Job, Refusal, decode
from vggcli.scale.cluster import Share, import_ray
from vggcli.scale.notes import Note

LEAST_BLOCKS, BLOCKS_PER_ACTOR = 512, 32  # of one wave; its end, when actors wait for the last one, is a small part
FIRST_BLOCKS_PER_ACTOR = 2  # that are waited for before a wave begins
_IN_FLIGHT = 2  # blocks that an actor has or is told of: the next one is there when one is done


def most_blocks(share: Share) -> int:
    """Blocks of one wave."""
    return max(LEAST_BLOCKS, BLOCKS_PER_ACTOR * share.actors)


def outcomes(job: Job, share: Share, numbers: Sequence[int]) -> Iterator[Note | Refusal]:
    """Do blocks on the cluster; their outcomes as they come, in any order.

    An actor that dies is started again by Ray, there or elsewhere, and its blocks are given out again.  The pool is
    elastic, since one of fixed size waits for ever for an actor whose node is gone and has nowhere else to start: here
    idle actors make room for it.

    Raises:
        Exception: whatever Ray says that is wrong with the cluster; every outcome before it has been given.
    """
    ray = import_ray()
    actors = max(1, min(share.actors, len(numbers)))
    # Rows that are there from the start, and no task that makes them: it would wait for a core, and actors have all.
    rows = [{ROW: number} for number in numbers]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        BlockActor,
        fn_constructor_args=(job,),
        batch_size=None,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(
            min_size=1, initial_size=actors, max_tasks_in_flight_per_actor=_IN_FLIGHT if len(numbers) > actors else 1
        ),
        num_cpus=share.cores,
        num_gpus=share.gpus,
        memory=share.memory,
    )
    batches: Iterator[dict[str, Any]] = dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy")
    for batch in batches:
        yield from (decode(str(text)) for text in batch[OUTCOME])
    del dataset, batches
    gc.collect()  # what Ray kept of each task refers to itself: some MB that would stay until Python happens to look
