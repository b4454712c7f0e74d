"""The order of the data: which examples make up the batch of a step.

The order is a function of (seed, step) alone: epochs follow each other, each in its
own shuffle, and batches run on across their borders so that no image is dropped. A
resumed run therefore needs no saved state, and each process takes its slice of the
global batch, so that the order does not depend on the number of processes.
"""

import collections
import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from data.source import Source


@functools.lru_cache(maxsize=2)
def _epoch_order(seed, epoch, count):
    return np.random.default_rng((seed, epoch)).permutation(count)


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """Shuffled batches of a source by step.

    Attributes:
      source: the images.
      seed: of the shuffles.
      batch_size: over all processes, a multiple of process_count.
      process_index, process_count: which slice of the batch is read here.
    """

    source: Source
    seed: int
    batch_size: int
    process_index: int = 0
    process_count: int = 1

    def indices(self, step):
        """[batch_size / process_count] rows of the source in this process's slice."""
        share = self.batch_size // self.process_count
        start = step * self.batch_size + self.process_index * share
        epochs, rows = np.divmod(np.arange(start, start + share), len(self.source))
        order = np.empty(share, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            order[here] = _epoch_order(self.seed, int(epoch), len(self.source))[rows[here]]
        return order

    def batch(self, step):
        """This process's slice of the batch of a step; see `Source.batch`."""
        return self.source.batch(self.indices(step))

    def batches(self, start, stop, stride=1, ahead=2):
        """Yields batches stacked to [stride, ...] from `start` to `stop`, read ahead by a thread."""

        def read(step):
            batches = [self.batch(step + i) for i in range(stride)]
            return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}

        with ThreadPoolExecutor(1) as reader:
            queue = collections.deque()
            for step in range(start, stop, stride):
                queue.append(reader.submit(read, step))
                if len(queue) > ahead:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
