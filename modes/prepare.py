"""--mode=prepare: downloads a TFDS data set and keeps it as array_record in the data folder."""

import data
from components import pasteable
from data import tensorflow_datasets


def refusals(config):
    """A line about a source that cannot be prepared."""
    kind, _ = data.parse(config.data.source)
    if kind != "tfds":
        yield (
            f'--mode=prepare serves data.source="tfds:<name>"; data.source="{config.data.source}" '
            "needs no preparation."
        )


def run(config, workdir):
    """Prepares the data set of `data.source` and prints how many examples each split holds."""
    _, name = data.parse(config.data.source)
    counts = tensorflow_datasets.prepare(name, config.data)
    for split, count in counts.items():
        print(f"{split}: {count} examples, checked")
    source = pasteable("config.data.source", config.data.source)
    print(f"ready in {config.data.directory}: train with {source}")
