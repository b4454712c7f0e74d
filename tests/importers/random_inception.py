"""Weights of Inception-v3 that any NumPy draws alike: those of golden/inception.npz."""

import numpy as np


def random_state(shapes):
    """A state_dict in torchvision's names, from {name: shape}, that keeps activations of order one."""
    generator, state = np.random.default_rng(0), {}
    for name, shape in sorted(shapes.items()):
        drawn = generator.random(shape, np.float32)
        if name.endswith("running_var"):
            state[name] = 0.5 + drawn
        elif len(shape) == 1:
            # Scales around one; shifts and means around zero.
            state[name] = (0.75 if name.endswith("bn.weight") else -0.25) + 0.5 * drawn
        else:
            state[name] = (drawn - 0.5) * np.float32(5 / np.sqrt(np.prod(shape[1:])))
    return state
