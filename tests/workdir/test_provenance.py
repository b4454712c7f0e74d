"""What is recorded of the code: all that can be known, and None in place of the rest."""

import importlib.metadata
import subprocess

import jax

from workdir import provenance


def _repository(folder):
    """A git repository with one commit."""
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message=first"], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout


def test_what_is_there_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "7.1"\n')
    revision = _repository(tmp_path).strip()
    found = provenance.collect()
    assert found["git_revision"] == revision and found["version"] == "7.1"
    assert found["packages"]["jax"] == jax.__version__ and None not in found["packages"].values()


def test_a_repository_around_the_code_is_not_the_code_s(tmp_path, monkeypatch):
    _repository(tmp_path)
    inside = tmp_path / "site-packages"
    inside.mkdir()
    monkeypatch.setattr(provenance, "ROOT", inside)
    assert provenance.collect()["git_revision"] is None


def test_without_git_the_revision_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    # Another folder each time, for of each the revision is read once.
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "first")
    assert provenance.collect()["git_revision"] is None
    # Nor does a file of that name help that cannot be run.
    (tmp_path / "git").write_text("")
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "second")
    assert provenance.collect()["git_revision"] is None


def test_without_metadata_the_versions_are_unknown(tmp_path, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    found = provenance.collect()
    assert found["version"] is None and set(found["packages"].values()) == {None}
    (tmp_path / "pyproject.toml").write_text("cut off = ")
    assert provenance.collect()["version"] is None
