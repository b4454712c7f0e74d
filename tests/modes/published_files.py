"""Small files in the form of each published one, and the parameters that are in them."""

import shlex

import flax.serialization
import jax
import numpy as np
from flax.traverse_util import unflatten_dict

import main
from experiment.create import create
from importers import checkpoint, forms, mapping
from modes import import_config
from tests.importers.written import (
    Call,
    Name,
    dumps,
    persistent_object,
    row_bytes,
    tensor,
    zip_file,
    zip_storage,
)

STEP = 400_000
SMALL = (
    "--config.data.image_size=8 --config.model.width=8 --config.model.multipliers=(1,2) "
    "--config.model.blocks=1"
)
ATTENTION = "--config.model.attention=(4,)"
# path in the test's folder -> (form, experiment, flags of the import, --config needed)
FILES = {
    "vp/cifar10_ddpmpp_continuous/checkpoint_8.pth": (
        "score_sde_pytorch",
        "configs/vp/cifar10_ddpmpp_continuous.py",
        f"{SMALL} {ATTENTION}",
    ),
    "ve/cifar10_ncsnpp_continuous/checkpoint_12": (
        "score_sde",
        "configs/ve/cifar10_ncsnpp_continuous.py",
        f"{SMALL} {ATTENTION}",
    ),
    "edm-cifar10-32x32-cond-vp.pkl": ("edm", "configs/edm/cifar10_cond_vp.py", f"{SMALL} {ATTENTION}"),
    "edm2-img64-xs-0134217-0.110.pkl": (
        "edm2",
        "configs/edm2/imagenet64_xs.py",
        f"{SMALL} {ATTENTION} --config.model.head_width=8 --config.data.classes=10",
    ),
    "64x64_diffusion.pt": (
        "adm",
        "configs/adm/imagenet64.py",
        f"{SMALL.replace('width=8', 'width=32')} {ATTENTION} --config.model.head_width=32 "
        "--config.data.classes=10",
    ),
    "analytic/ckpt.pth": (
        "analytic",
        "configs/analytic_dpm/cifar10_linear.py",
        f"{SMALL.replace('width=8', 'width=32')} {ATTENTION}",
    ),
    "ncsnv2/checkpoint_300000.pth": (
        "ncsn",
        "configs/ve/ncsnv2/cifar10.py",
        "--config.data.image_size=16 --config.model.width=8",
    ),
    "ddim/ckpt.pth": ("ddim", "configs/ddim/celeba.py", f"{SMALL} {ATTENTION}"),
}
UNKNOWN = tuple(file for file, (form, *_) in FILES.items() if form in ("analytic", "ncsn", "ddim"))


def command(path, workdir, *more, config=None):
    """The command line that imports a file; flags make the network small."""
    file = next((file for file in FILES if str(path).endswith(file)), None)
    flags = shlex.split(FILES[file][2]) if file else []
    if file in UNKNOWN and config is None:
        config = FILES[file][1]
    named = [] if config is None else [f"--config={config}"]
    return ["main.py", "--mode=import", f"--from={path}", f"--workdir={workdir}", *named, *flags, *more]


def write(folder, file):
    """Writes a file of FILES; returns (path, parameters, averaged parameters) as trees of ours."""
    form, experiment, flags = FILES[file]
    config, *_ = main.parse(["main.py", f"--config={experiment}", "--workdir=x", *shlex.split(flags)])
    import_config.complete(config, checkpoint.Checkpoint(form, {}, {}))
    created = create(config, ())
    template, network = created.params_template(), created.denoiser.network
    rows = forms.FORMS["adm" if form == "analytic" else form].rows(
        getattr(network, "network", network), template, config.data.image_size
    )
    trees = [_random(template, seed) for seed in (1, 2)]
    theirs, average = (mapping.export(tree, rows) for tree in trees)
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(WRITERS[form](theirs, average))
    # A pickled network is the average alone, and so is what openai.com has.
    return path, *(trees if form not in ("edm", "edm2", "adm") else (trees[1], trees[1]))


def _random(template, seed):
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda like: generator.standard_normal(like.shape).astype(np.float32), template)


class Tensors:
    """Tensors of a zip file of torch: things to pickle, and the storages that they refer to."""

    def __init__(self):
        self.storages = {}

    def of(self, arrays, prefix=""):
        return {f"{prefix}{name}": self._one(array) for name, array in arrays.items()}

    def listed(self, arrays):
        return [self._one(array) for array in arrays]

    def _one(self, array):
        key = str(len(self.storages))
        self.storages[key] = array.tobytes()
        strides = tuple(stride // 4 for stride in array.strides)
        return tensor(zip_storage("Float", key, array.size), 0, array.shape, strides)


def _song_pytorch(theirs, average):
    tensors = Tensors()
    fixed = [name for name, array in theirs.items() if name.endswith(".W") and array.ndim == 1]
    shadow = tensors.listed(array for name, array in average.items() if name not in fixed)
    thing = {
        "optimizer": {"state": {}},
        "model": tensors.of(theirs, "module."),
        "ema": {"decay": 0.9999, "num_updates": 3, "shadow_params": shadow},
        "step": STEP,
    }
    return zip_file(thing, tensors.storages)


def _song_flax(theirs, average):
    def tree(arrays):
        return unflatten_dict(arrays, sep="/")

    state = {"target": tree(theirs), "state": {"step": 1}}
    content = {"step": np.int32(STEP), "optimizer": state, "lr": 2e-4, "params_ema": tree(average)}
    return flax.serialization.msgpack_serialize(content)


def _pickled(theirs, average):
    def module(arrays):
        parameters = {name: array for name, array in arrays.items() if "." not in name}
        below = {}
        for name, array in arrays.items():
            first, dot, rest = name.partition(".")
            if dot:
                below.setdefault(first, {})[rest] = array
        return persistent_object(
            "Module",
            {
                "_parameters": {name: _parameter(array) for name, array in parameters.items()},
                "_modules": {name: module(inner) for name, inner in below.items()},
            },
        )

    network = module({name: np.asarray(array) for name, array in average.items()})
    return dumps({"ema": network, "dataset_kwargs": Call(Name("dnnlib.util", "EasyDict"), ())})


def _parameter(array):
    storage = row_bytes("Float", array.size, array.tobytes())
    strides = tuple(stride // 4 for stride in array.strides)
    return Call(
        Name("torch._utils", "_rebuild_parameter"), (tensor(storage, 0, array.shape, strides), True, {})
    )


def _edm(theirs, average):
    return _pickled(theirs, {f"model.{name}": array for name, array in average.items()})


def _state(theirs, average):
    tensors = Tensors()
    return zip_file(tensors.of(average), tensors.storages)


def _analytic(theirs, average):
    tensors = Tensors()
    thing = {
        "models_states": {"eps_model": tensors.of(theirs)},
        "ema_models_states": {"eps_model": tensors.of(average)},
        "step": STEP,
    }
    return zip_file(thing, tensors.storages)


def _listed(theirs, average):
    tensors = Tensors()
    thing = [tensors.of(theirs, "module."), {"state": {}}, 7, STEP, tensors.of(average)]
    return zip_file(thing, tensors.storages)


WRITERS = {
    "score_sde_pytorch": _song_pytorch,
    "score_sde": _song_flax,
    "edm": _edm,
    "edm2": _pickled,
    "adm": _state,
    "analytic": _analytic,
    "ncsn": _listed,
    "ddim": _listed,
}
