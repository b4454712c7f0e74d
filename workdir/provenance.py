"""What a result depends on besides its config; what cannot be known is None."""

import functools
import importlib.metadata
import os
import platform
import subprocess
import tomllib
from pathlib import Path

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy")
ROOT = Path(__file__).resolve().parent.parent


def project_version():
    """The version of this project, as pyproject.toml or its installed metadata has it; else None."""
    try:
        return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    except (OSError, ValueError, KeyError):
        return _package_version("undrift")


def _package_version(name):
    # A container may hold packages without their metadata.
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _git_revision(root):
    """The commit that the code in a folder was checked out from, or None: no git, or no checkout.

    It is read once: what is checked out there later is not the code that runs.
    """
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    # A repository around this one, of somebody's home for example, says nothing about the code.
    around = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)}
    try:
        found = subprocess.run(command, env=around, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return found.stdout.strip() or None


def collect():
    """Versions, the git revision of the code if it is a checkout, and the devices."""
    return {
        "version": project_version(),
        "python": platform.python_version(),
        "packages": {name: _package_version(name) for name in PACKAGES},
        "git_revision": _git_revision(ROOT),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
    }
