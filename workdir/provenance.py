"""What a result depends on besides its config."""

import importlib.metadata
import platform
import subprocess
import tomllib
from pathlib import Path

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy")


def project_version():
    """The version of this project, as pyproject.toml has it."""
    path = Path(__file__).resolve().parent.parent / "pyproject.toml"
    return tomllib.loads(path.read_text())["project"]["version"]


def collect():
    """Versions, the git revision of the code if it is a checkout, and the devices."""
    root = Path(__file__).resolve().parent.parent
    git = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "version": project_version(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git_revision": git.stdout.strip() or None,
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
    }
