"""torch's modules without torch: the tensors of a pickled network by the names of its state_dict.

Networks that were pickled whole (EDM, EDM2, torch.save of a module, TorchScript) arrive as Records of
importers.unpickling. A module's state has its tensors in `_parameters` and `_buffers` and its children in
`_modules`; TorchScript's has tensors and children as attributes.
"""

import numpy as np

from importers.names import Record
from importers.refusal import RefusedFile, shown


def state_dict(module):
    """Arrays of a module by name, as "block.conv.weight".

        >>> layer = Record("torch.nn.modules.linear.Linear", (), {"_parameters": {"weight": np.ones(2)}})
        >>> state_dict(Record("Net", (), {"_modules": {"first": layer}}))
        {'first.weight': array([1., 1.])}

    Args:
      module: Record of a module. Buffers that it does not count as its state are left out.

    Raises:
      RefusedFile: it is no module.
    """
    if not isinstance(module, Record) or not isinstance(module.state, dict):
        raise RefusedFile(f"{shown(module)} is no network that was pickled whole.")
    return dict(_tensors(module.state, ""))


def _tensors(state, prefix):
    if "_modules" in state or "_parameters" in state or "_buffers" in state:
        tensors, children = _of_module(state)
    else:
        tensors, children = state, state
    for name, value in tensors.items():
        if isinstance(value, np.ndarray):
            yield f"{prefix}{name}", value
    for name, child in children.items():
        if isinstance(child, Record) and isinstance(child.state, dict):
            yield from _tensors(child.state, f"{prefix}{name}.")


def _of_module(state):
    """(tensors, children) of a module's state, by name."""
    groups = [state.get(group) or {} for group in ("_parameters", "_buffers", "_modules")]
    if not all(isinstance(group, dict) for group in groups):
        raise RefusedFile("A module's parameters are no dict: the file is damaged.")
    parameters, buffers, children = groups
    passing = state.get("_non_persistent_buffers_set") or set()
    kept = {name: buffer for name, buffer in buffers.items() if name not in passing}
    return {**parameters, **kept}, children
