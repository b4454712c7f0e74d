"""The machine that a pickle is a program for, without the operations that could do more than make data.

Python's own unpickler cannot be told to stop: a pickle of a few bytes can keep it busy, fill the memory,
nest lists until the interpreter falls over, or call what it names. This machine has the operations of
protocols 0 to 5 that make numbers, text and containers, and asks importers/names.py about every name. It
counts operations and estimates memory (importers/budget.py). The operations are described in the source of
Python's pickletools.
"""

import codecs
import struct

from importers import names
from importers.refusal import Refusal, shown, type_name
from importers.tensors import Array, DType

_LONGEST_NUMBER = 32  # bytes; a file's magic number has 10
_LONGEST_NAME = 2_000
_LONGEST_LINE = 2**16


class Machine:
    """Runs one pickle.

    Args:
      data: bytes or mmap that the pickle lies in.
      position: of its first byte.
      context: names.Context.

    Attributes:
      position: of the byte after the last one read.
    """

    def __init__(self, data, position, context):
        self._data, self.position, self._context, self._budget = data, position, context, context.budget
        self._stack, self._below, self._memo, self._found = [], [], {}, {}

    def run(self):
        """The object that the pickle makes, with tensors still as importers.tensors has them.

        Raises:
          Refusal: it ends too early, is damaged, or asks for what is not carried out.
        """
        try:
            return self._run()
        except IndexError:
            raise Refusal(
                f"{self._where()} takes what is not there: the file is damaged or truncated"
            ) from None
        except (struct.error, ValueError, TypeError, KeyError, OverflowError) as error:
            if isinstance(error, Refusal):
                raise
            raise Refusal(f"{self._where()} makes no sense: the file is damaged or no pickle") from error

    def _run(self):
        while True:
            self._budget.operations -= 1
            if self._budget.operations < 0:
                raise Refusal("it has more operations than any network needs: made to keep readers busy")
            code = self._data[self.position]
            self.position += 1
            if code == _STOP:
                return self._end()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise Refusal(self._unknown(code))
            operation(self)

    def _end(self):
        if self._below or len(self._stack) != 1:
            raise Refusal("it ends with things left over: the file is damaged")
        return self._stack[0]

    def _where(self):
        return f"the operation before byte {self.position}"

    def _unknown(self, code):
        if code in _LEFT_OUT:
            return (
                f"it uses the operation {_LEFT_OUT[code]}, which no checkpoint needs and which may hide code"
            )
        place = f"byte {self.position - 1} is {code:#04x}"
        return f"{place}, no operation of a pickle: the file is damaged, or of another form"

    # what operations read

    def _take(self, size):
        """The next bytes."""
        end = self.position + size
        if size < 0 or end > len(self._data):
            left = len(self._data) - self.position
            raise Refusal(
                f"{size} bytes are promised at byte {self.position}, and {left} are left: the file is "
                "truncated or damaged"
            )
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def _number(self, form):
        """The next number in one of struct's forms."""
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self, longest):
        """The next line, without its end."""
        end = self._data.find(b"\n", self.position, self.position + longest)
        if end < 0:
            raise Refusal(f"a line at byte {self.position} has no end: the file is truncated or damaged")
        line = self._data[self.position : end]
        self.position = end + 1
        return line

    # what operations leave

    def push(self, thing, cost=40):
        """Leaves a thing on the stack; `cost` is what it takes of the memory, in bytes."""
        self._budget.objects(cost)
        self._stack.append(thing)

    def _above_mark(self):
        """The things above the last mark, which they leave."""
        above, self._stack = self._stack, self._below.pop()
        return above

    def _remember(self, place):
        if place < 0:
            raise Refusal("a negative place in the memo: the file is damaged")
        self._budget.objects(100)
        self._memo[place] = self._stack[-1]

    def recall(self, place):
        """Leaves what stands at a place of the memo."""
        if place not in self._memo:
            raise Refusal(f"place {shown(place)} of the memo is empty: the file is damaged")
        self._stack.append(self._memo[place])

    # operations

    def protocol(self):
        if self._take(1)[0] > 5:
            raise Refusal("it is of a protocol of pickles above 5, which is unknown")

    def frame(self):
        size = self._number("<Q")
        if size > len(self._data) - self.position:
            raise Refusal(f"a frame of {size} bytes where fewer are left: the file is truncated or damaged")

    def mark(self):
        self._budget.objects(100)
        self._below.append(self._stack)
        self._stack = []

    def pop(self):
        if self._stack:
            self._stack.pop()
        else:
            self._above_mark()

    def text_number(self):
        line = self._line(_LONGEST_NUMBER)
        self.push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line))

    def text_long(self):
        self.push(int(self._line(_LONGEST_NUMBER).rstrip(b"L")))

    def long(self, size):
        if not 0 <= size <= _LONGEST_NUMBER:
            raise Refusal(f"a whole number of {size} bytes: no network has such, and the file may be damaged")
        self.push(int.from_bytes(self._take(size), "little", signed=True))

    def text(self, size):
        if size > 2**10:
            self._budget.objects(4 * size)  # one unusual letter makes all take four bytes
        self.push(str(self._take(size), "utf-8", "surrogatepass"), 80)

    def text_line(self):
        self.push(str(self._line(_LONGEST_LINE), "raw-unicode-escape"), 80 + _LONGEST_LINE // 64)

    def string(self, content):
        """Text of Python 2, which may be bytes."""
        self.push(str(content, "ascii") if content.isascii() else bytes(content), 80)

    def string_line(self):
        line = self._line(_LONGEST_LINE)
        if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
            raise Refusal("text without quotes: the file is damaged")
        self.string(codecs.escape_decode(line[1:-1])[0])

    def bytes(self, size):
        self.push(bytes(self._take(size)), 80)

    def tuple(self, size):
        if len(self._stack) < size:
            raise IndexError
        things = tuple(self._stack[-size:])
        del self._stack[-size:]
        self.push(things, 200)

    def tuple_above(self):
        things = tuple(self._above_mark())
        self.push(things, 200 + 8 * len(things))

    def list_above(self):
        things = self._above_mark()
        self.push(things, 240 + 16 * len(things))

    def dict_above(self):
        things = self._above_mark()
        self.push({}, 440)
        self._set(things)

    def frozenset_above(self):
        things = self._above_mark()
        for thing in things:
            names.require_key(thing)
        self.push(frozenset(things), 400 + 64 * len(things))

    def append(self, things):
        self._budget.objects(16 * len(things))
        target = self._stack[-1]
        if type(target) is not list:
            raise Refusal(f"it appends to a thing of type {type_name(target)}")
        target.extend(things)

    def append_one(self):
        self.append([self._stack.pop()])

    def append_above(self):
        self.append(self._above_mark())

    def set_one(self):
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def set_above(self):
        self._set(self._above_mark())

    def _set(self, things):
        """Sets items of the dict on top: things are key, value, key, value, ..."""
        target = self._stack[-1]
        if type(target) is not dict or len(things) % 2:
            raise Refusal(f"it sets items of a thing of type {type_name(target)}")
        self._budget.objects(52 * len(things))
        for key in things[::2]:
            names.require_key(key)
        target.update(zip(things[::2], things[1::2], strict=True))

    def add_above(self):
        things, target = self._above_mark(), self._stack[-1]
        if type(target) is not set:
            raise Refusal(f"it adds members to a thing of type {type_name(target)}")
        self._budget.objects(64 * len(things))
        for thing in things:
            names.require_key(thing)
        target.update(things)

    def name_lines(self):
        module, name = self._line(_LONGEST_NAME), self._line(_LONGEST_NAME)
        self._name(str(module, "utf-8"), str(name, "utf-8"))

    def name_stack(self):
        name, module = self._stack.pop(), self._stack.pop()
        self._name(module, name)

    def _name(self, module, name):
        key = module, name
        if type(module) is not str or type(name) is not str or key not in self._found:
            self._budget.objects(400)
            self._found[key] = names.find(module, name, self._context.script)
        self.push(self._found[key])

    def call(self):
        arguments, function = self._stack.pop(), self._stack.pop()
        self.push(names.call(function, arguments, self._context))

    def call_with_names(self):
        named, arguments, function = self._stack.pop(), self._stack.pop(), self._stack.pop()
        if named != {} or type(named) is not dict:
            raise Refusal("it makes an object from named arguments, which no published checkpoint does")
        self.push(names.call(function, arguments, self._context))

    def build(self):
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Array | DType):
            target.build(state)
        elif isinstance(target, names.Record):
            _give_state(target, state)
        elif type(target) is not dict:  # attributes of a dict's subclass are dropped
            raise Refusal(f"it sets the state of a thing of type {type_name(target)}")

    def persistent(self, key):
        if self._context.persistent is None:
            raise Refusal("it refers to a thing outside of the pickle, which files of this form do not have")
        self.push(self._context.persistent(key), 400)


def _give_state(record, state):
    """Sets the state of an object, once; classes themselves have none."""
    if record.arguments is None or record.state is not None:
        raise Refusal(f"it changes {shown(record.name)} itself: made to confuse readers")
    parts = state if type(state) is tuple else (state,)
    for part in parts:
        for key in part if type(part) is dict else ():
            if type(key) is str and key.startswith("__") and key.endswith("__"):
                raise Refusal(
                    f"it sets {shown(key)} of an object of {shown(record.name)}, which could run code"
                )
    record.state = state


def _constant(value):
    return lambda machine: machine.push(value)


_STOP = ord(".")
_OPERATIONS = {
    "\x80": Machine.protocol,
    "\x95": Machine.frame,
    "(": Machine.mark,
    "0": Machine.pop,
    "1": lambda m: m._above_mark(),
    "2": lambda m: m.push(m._stack[-1], 8),
    "N": _constant(None),
    "\x88": _constant(True),
    "\x89": _constant(False),
    "I": Machine.text_number,
    "L": Machine.text_long,
    "J": lambda m: m.push(m._number("<i")),
    "K": lambda m: m.push(m._number("<B")),
    "M": lambda m: m.push(m._number("<H")),
    "\x8a": lambda m: m.long(m._number("<B")),
    "\x8b": lambda m: m.long(m._number("<i")),
    "F": lambda m: m.push(float(m._line(100))),
    "G": lambda m: m.push(m._number(">d")),
    "S": Machine.string_line,
    "T": lambda m: m.string(m._take(m._number("<i"))),
    "U": lambda m: m.string(m._take(m._number("<B"))),
    "V": Machine.text_line,
    "X": lambda m: m.text(m._number("<I")),
    "\x8c": lambda m: m.text(m._number("<B")),
    "\x8d": lambda m: m.text(m._number("<Q")),
    "B": lambda m: m.bytes(m._number("<I")),
    "C": lambda m: m.bytes(m._number("<B")),
    "\x8e": lambda m: m.bytes(m._number("<Q")),
    "\x96": lambda m: m.bytes(m._number("<Q")),
    ")": lambda m: m.push((), 8),
    "t": Machine.tuple_above,
    "\x85": lambda m: m.tuple(1),
    "\x86": lambda m: m.tuple(2),
    "\x87": lambda m: m.tuple(3),
    "]": lambda m: m.push([], 240),
    "l": Machine.list_above,
    "a": Machine.append_one,
    "e": Machine.append_above,
    "}": lambda m: m.push({}, 440),
    "d": Machine.dict_above,
    "s": Machine.set_one,
    "u": Machine.set_above,
    "\x8f": lambda m: m.push(set(), 400),
    "\x90": Machine.add_above,
    "\x91": Machine.frozenset_above,
    "g": lambda m: m.recall(int(m._line(_LONGEST_NUMBER))),
    "h": lambda m: m.recall(m._number("<B")),
    "j": lambda m: m.recall(m._number("<I")),
    "p": lambda m: m._remember(int(m._line(_LONGEST_NUMBER))),
    "q": lambda m: m._remember(m._number("<B")),
    "r": lambda m: m._remember(m._number("<I")),
    "\x94": lambda m: m._remember(len(m._memo)),
    "c": Machine.name_lines,
    "\x93": Machine.name_stack,
    "R": Machine.call,
    "\x81": Machine.call,
    "\x92": Machine.call_with_names,
    "b": Machine.build,
    "P": lambda m: m.persistent(str(m._line(_LONGEST_NAME), "ascii")),
    "Q": lambda m: m.persistent(m._stack.pop()),
}
_OPERATIONS = {ord(code): operation for code, operation in _OPERATIONS.items()}
_LEFT_OUT = {
    "i": "INST",
    "o": "OBJ",
    "\x82": "EXT1",
    "\x83": "EXT2",
    "\x84": "EXT4",
    "\x97": "NEXT_BUFFER",
    "\x98": "READONLY_BUFFER",
}
_LEFT_OUT = {ord(code): name for code, name in _LEFT_OUT.items()}
