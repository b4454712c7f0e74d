"""How much work and memory the reading of one file may cost.

A pickle is a program: a file of a few kilobytes may ask for any number of objects, and a few of its bytes may
stand for the whole file again and again. EDM's network of ImageNet-64, pickled whole, takes 92,000 operations
and 11 MB of objects besides its tensors.
"""

from importers.refusal import Refusal

OPERATIONS = 1_000_000
OBJECTS = 64 * 2**20  # bytes
NODES = 2_000_000
DEPTH = 100
NESTED = 3


class Budget:
    """What is left to spend on one file.

    Args:
      size: of the file in bytes. Contents are copied at most four times: once out of a nested file, twice
        where halves become float32, once as text.

    Attributes:
      operations: of the machine that runs pickles.
      nested: files within files at present.
    """

    def __init__(self, size):
        self.operations = OPERATIONS
        self.nested = 0
        self._objects = OBJECTS
        self._copies = 4 * size + 2**20

    def objects(self, size):
        """Spends memory on Python objects, an estimate in bytes."""
        self._objects -= size
        if self._objects < 0:
            raise Refusal(f"it makes objects of more than {OBJECTS >> 20} MB besides its tensors: no network")

    def copy(self, size):
        """Spends memory on a copy of contents, in bytes."""
        self._copies -= size
        if self._copies < 0:
            raise Refusal("it uses the same contents over and over, and would fill the memory")
