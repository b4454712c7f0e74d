"""What the names in a pickle stand for: a fixed table, and nothing is ever imported.

A pickle names functions and asks to call them. Of the names below a few are carried out by functions of
this project (containers, tensors, NumPy's arrays). Classes of torch's modules and of the published code
bases are let through without a meaning: an object of one is a Record, its name with the numbers that it
held. Every other name is refused, `os.system` and `builtins.getattr` like any function that nobody has
thought of.
"""

import dataclasses
import re
from collections.abc import Callable

from importers.budget import Budget
from importers.refusal import Refusal, shown, type_name
from importers.tensors import DTYPES, STORAGES, Array, DType, Storage, Tensor, scalar


@dataclasses.dataclass(eq=False, slots=True)
class Record:
    """A class, a function or an object that a file names, as data.

    Attributes:
      name: of the class, with its module where the file gives it.
      arguments: of the call that made the object; None where the class itself stands.
      state: what the object held, a dict of its attributes as a rule.
    """

    name: str
    arguments: tuple | None = None
    state: object = None

    def __repr__(self):
        """Short: a record may hold a whole network."""
        return f"<Record {shown(self.name)}>"


@dataclasses.dataclass(frozen=True)
class Context:
    """What the pickle of one file may refer to.

    Attributes:
      budget: what is left to spend.
      persistent: from a persistent id to an object, where the form of the file has them.
      nested: from the bytes of a torch file within this one to its object.
      script: whether the file is a TorchScript archive, whose classes have names below __torch__.
    """

    budget: Budget
    persistent: Callable | None = None
    nested: Callable | None = None
    script: bool = False


# Python 2's and NumPy's names of modules that have moved.
_MOVED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}
_VALUES = {
    *STORAGES,
    *DTYPES,
    *(f"builtins.{name}" for name in ("object", "dict", "list", "tuple", "int", "float", "str", "bool")),
    *(f"torch.{name.split('.')[-1].replace('Storage', 'Tensor')}" for name in STORAGES),
    *("torch.Tensor", "torch.strided", "torch.contiguous_format", "torch.preserve_format", "numpy.ndarray"),
    *("torch.device", "argparse.Namespace", "easydict.EasyDict", "types.SimpleNamespace"),
    *("torch.serialization._get_layout", "torch.utils.hooks.RemovableHandle"),
}
# Classes of these modules, never their functions, are let through, and what TorchScript calls __torch__.
_CODE_BASES = ("torch.nn.modules.", "torch.nn.parallel.", "torch.nn.parameter.", "torch.optim.", "training.")
_SCRIPT = "__torch__."
_CLASS = re.compile(r"_?[A-Z][A-Za-z0-9_]{0,199}")
_SCRIPTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,999}")


def find(module, name, script=False):
    """The Record that stands for a name of a file.

    Raises:
      Refusal: the name is none of those known.
    """
    if type(module) is not str or type(name) is not str:
        raise Refusal("a name in it is no text: damaged, or made to confuse readers")
    full = f"{_MOVED.get(module, module)}.{name}"
    known = full in _CALLS or full in _VALUES
    if not known and _MODULE.fullmatch(module):
        known = bool(_CLASS.fullmatch(name)) and full.startswith(_CODE_BASES)
        known = known or bool(script and _SCRIPTED.fullmatch(name) and full.startswith(_SCRIPT))
    if not known:
        raise Refusal(
            f"it names {shown(full)}, which is neither a tensor nor a plain container; a file that needs "
            "such a name may run code where others read it"
        )
    return Record(full)


def call(function, arguments, context):
    """What a call that a pickle asks for gives: an object of the table's, or a Record.

    Args:
      function: a Record from `find`.
      arguments: tuple.

    Raises:
      Refusal: what is called is no name, or the arguments are not what the name takes.
    """
    if not isinstance(function, Record) or function.arguments is not None:
        raise Refusal(f"it calls a thing of type {type_name(function)}: damaged, or made to confuse readers")
    if type(arguments) is not tuple:
        raise Refusal(f"it calls {shown(function.name)} with what are no arguments")
    context.budget.objects(400)
    if function.name not in _CALLS:
        return Record(function.name, arguments)
    try:
        return _CALLS[function.name](context, *arguments)
    except Refusal:
        raise
    except Exception as error:  # of any kind: the arguments are whatever a file says
        raise Refusal(f"it calls {shown(function.name)} with what that does not take") from error


PLAIN = (str, bytes, int, float, bool, type(None))


def require_key(key):
    """Refuses keys of dicts and members of sets that take long to hash or to compare."""
    if type(key) not in PLAIN or (type(key) is int and abs(key) >= 2**60):
        raise Refusal(f"a key of type {type_name(key)}, or one too large, which may take long to compare")


def _items(context, pairs=()):
    if type(pairs) not in (list, tuple, dict):
        raise Refusal("a dict from what are no pairs")
    pairs = pairs.items() if type(pairs) is dict else pairs
    context.budget.objects(104 * len(pairs))
    for key, _ in pairs:
        require_key(key)
    return dict(pairs)


def _members(kind):
    def members(context, values=()):
        if type(values) not in (list, tuple):
            raise Refusal("a set from what is no list")
        context.budget.objects(64 * len(values))
        for value in values:
            require_key(value)
        return kind(values)

    return members


def _bytes(context, content=b"", encoding=None):
    """Bytes from bytes, from text with an encoding, or from small numbers in a list."""
    if type(content) not in (bytes, str, list):
        raise Refusal("bytes from what are none")
    context.budget.copy(len(content))
    return content.encode(_encoding(encoding)) if type(content) is str else bytes(content)


def _encoding(name):
    if name not in ("latin1", "latin-1", "ascii", "utf-8"):
        raise Refusal(f"text in the encoding {shown(name)}")
    return name


def _slice(context, *bounds):
    if any(type(bound) not in (int, type(None)) for bound in bounds):
        raise Refusal("a slice between what are no numbers")
    return slice(*bounds)


def _complex(context, real, imaginary=0.0):
    if not {type(real), type(imaginary)} <= {int, float}:
        raise Refusal("a complex number from what are no numbers")
    return complex(real, imaginary)


def _size(context, sizes=()):
    if type(sizes) not in (tuple, list):
        raise Refusal("a torch.Size of what are no numbers")
    context.budget.objects(8 * len(sizes))
    return tuple(sizes)


def _numpy_array(context, cls, shape, code):
    if not isinstance(cls, Record) or cls.name != "numpy.ndarray":
        raise Refusal("a NumPy array of a class of its own")
    return Array()


def _numpy_buffer(context, content, dtype, shape, order):
    array = Array()
    array.fill(shape, dtype, order, content)
    return array


def _tensor(context, storage, offset, shape, strides, *rest):
    """torch._utils._rebuild_tensor and _v2: whether it has gradients and hooks is dropped."""
    if len(rest) > 2 and rest[2]:
        raise Refusal("a tensor that is stored conjugated or negated")
    return Tensor(storage, offset, shape, strides)


def _typed_tensor(context, storage, offset, shape, strides, gradient, hooks, dtype, metadata=None):
    """torch._utils._rebuild_tensor_v3, for types that have no class of storages."""
    name = dtype.name if isinstance(dtype, Record) else dtype
    if name not in DTYPES:
        raise Refusal(f"a tensor of the type {shown(name)}, which is unknown")
    if metadata:
        raise Refusal("a tensor that is stored conjugated or negated")
    return Tensor(storage, offset, shape, strides, DTYPES[name])


def _parameter(context, data, *rest):
    """torch.nn.Parameter: the tensor in it."""
    if not isinstance(data, Tensor):
        raise Refusal(f"a parameter that holds a thing of type {type_name(data)}")
    return data


def _of_subclass(context, function, cls, arguments, state):
    """torch._tensor._rebuild_from_type_v2: a tensor with attributes, which are dropped."""
    if not isinstance(function, Record) or not function.name.startswith("torch._utils._rebuild_"):
        raise Refusal("a tensor's subclass that is made by no function of torch")
    return call(function, arguments, context)


def _storage(context, content):
    """torch.storage._load_from_bytes: a torch file within the pickle, of one storage."""
    if type(content) is not bytes or context.nested is None:
        raise Refusal("a torch file within it that is none")
    storage = context.nested(content)
    if not isinstance(storage, Storage | Tensor):
        raise Refusal(f"a torch file within it holds a thing of type {type_name(storage)}, not a storage")
    return storage


_KNOWN_SOURCE = {"type", "version", "module_src", "class_name", "state"}


def _persistent_object(context, meta):
    """torch_utils.persistence of EDM: a class's name, its source, which is dropped unread, and a state."""
    if type(meta) is not dict or set(meta) != _KNOWN_SOURCE or meta["type"] != "class":
        raise Refusal("an object with its source that is not as torch_utils.persistence writes it")
    name = meta["class_name"]
    if type(name) is not str or not _CLASS.fullmatch(name):
        raise Refusal(f"an object of a class called {shown(name)}")
    return Record(name, (), meta["state"])


_CALLS = {
    "collections.OrderedDict": _items,
    "collections.Counter": _items,
    "collections.defaultdict": lambda context, factory=None: {},
    "dnnlib.util.EasyDict": _items,
    "builtins.set": _members(set),
    "builtins.frozenset": _members(frozenset),
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.slice": _slice,
    "builtins.complex": _complex,
    "_codecs.encode": _bytes,
    "numpy.dtype": lambda context, name, *rest: DType(name),
    "numpy.core.multiarray._reconstruct": _numpy_array,
    "numpy.core.multiarray.scalar": lambda context, dtype, content: scalar(dtype, content),
    "numpy.core.numeric._frombuffer": _numpy_buffer,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
    "torch.storage._load_from_bytes": _storage,
    "torch.jit._pickle.build_intlist": lambda context, values: values,
    "torch.jit._pickle.build_tensorlist": lambda context, values: values,
    "torch.jit._pickle.build_doublelist": lambda context, values: values,
    "torch.jit._pickle.build_boollist": lambda context, values: values,
    "torch.jit._pickle.restore_type_tag": lambda context, value, tag: value,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
}
