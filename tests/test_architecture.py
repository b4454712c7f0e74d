"""Imports go one way, and nothing imports what it must not."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# room -> rooms of ours that it may import, besides itself
_SCIENCE = "components denoisers likelihood losses models samplers sde_lib"
_EXPERIMENT = f"{_SCIENCE} data experiment parallel training workdir"
MAY_IMPORT = {
    "components": "",
    "configs": "",
    "reports": "",
    "metrics": "",
    "parallel": "components",
    "sde_lib": "components",
    "models": "components",
    "importers": "components models",
    "data": "components parallel sde_lib workdir",
    "workdir": "components parallel",
    "denoisers": "components models sde_lib",
    "likelihood": "components denoisers sde_lib",
    "samplers": "components denoisers sde_lib",
    "losses": "components denoisers likelihood sde_lib",
    "training": "components data denoisers likelihood losses sde_lib",
    "experiment": f"{_EXPERIMENT} configs",
    "overrides": "components configs workdir",
    "evaluation": f"{_EXPERIMENT} importers metrics overrides",
    "modes": f"{_EXPERIMENT} configs evaluation importers metrics reports",
    "papers": f"{_EXPERIMENT} configs evaluation metrics modes overrides reports",
    "main": "components configs experiment modes overrides parallel sde_lib workdir",
}
MAY_IMPORT = {room: set(targets.split()) for room, targets in MAY_IMPORT.items()}
OPEN_NO_FILES = ("sde_lib", "denoisers", "samplers", "likelihood", "losses", "metrics")


def _files():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        if parts[0] in MAY_IMPORT or (path.stem in MAY_IMPORT and len(parts) == 1):
            yield parts[0].removesuffix(".py"), path


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_every_room_is_listed():
    rooms = {
        p.name.removesuffix(".py")
        for p in ROOT.iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert rooms - {"tests", "bench"} == set(MAY_IMPORT)


def test_imports_go_one_way():
    for room, path in _files():
        for name in _imports(path):
            target = name.split(".")[0]
            if target in MAY_IMPORT:
                assert target == room or target in MAY_IMPORT[room], (
                    f"{path.relative_to(ROOT)} imports {name}"
                )


def test_the_order_has_no_cycle():
    done, rest = set(), {room: targets - {room} for room, targets in MAY_IMPORT.items()}
    while rest:
        free = [room for room, targets in rest.items() if targets <= done]
        assert free, f"cycle among {sorted(rest)}"
        for room in free:
            done.add(room)
            del rest[room]


def test_only_modes_papers_and_benches_draw():
    for path in ROOT.rglob("*.py"):
        if not {".venv", "tests"} & set(path.parts):
            room = path.relative_to(ROOT).parts[0]
            draws = any(name.split(".")[0] in ("reports", "matplotlib") for name in _imports(path))
            assert not draws or room in ("modes", "papers", "bench", "reports"), path


def test_configs_are_data_only():
    for path in (ROOT / "configs").rglob("*.py"):
        used = {name.split(".")[0] for name in _imports(path)}
        assert used <= {"configs", "math", "ml_collections", "typing"}, path


def test_tensorflow_is_imported_nowhere():
    for path in ROOT.rglob("*.py"):
        if ".venv" not in path.parts:
            assert not any(name.split(".")[0] == "tensorflow" for name in _imports(path)), path


KEY_MAKERS = ("key", "PRNGKey", "wrap_key_data")


def _names(path):
    """Dotted names that a file uses or imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_keys_are_made_in_one_place():
    # Any other root takes its generator from the environment, and drops half of a seed of 64 bits.
    makers = {f"{module}.{name}" for module in ("jax.random", "random", "jr") for name in KEY_MAKERS}
    for path in ROOT.rglob("*.py"):
        place = path.relative_to(ROOT)
        if place.parts[0] not in ("tests", ".venv") and place != Path("sde_lib/noise.py"):
            assert not set(_names(path)) & makers, place


def test_no_room_s_door_is_a_room_of_its_own():
    for path in ROOT.glob("*/__init__.py"):
        text = path.read_text()
        # A table grows by its entries.
        tables = [n for n in ast.parse(text).body if isinstance(getattr(n, "value", None), ast.Dict)]
        entries = sum(table.end_lineno - table.lineno for table in tables)
        assert len(text.splitlines()) - entries <= 50, path


def _called(tree):
    """Dotted names of everything that a module calls or imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_science_opens_no_file():
    forbidden = {"open", "json", "pathlib", "Path", "os", "io"}
    for room, path in _files():
        if room in OPEN_NO_FILES:
            for name in _called(ast.parse(path.read_text())):
                reads = name.split(".")[-1] in (
                    "load",
                    "save",
                    "savez",
                    "savez_compressed",
                    "loadtxt",
                    "fromfile",
                )
                assert not (
                    name.split(".")[0] in forbidden or (reads and name.startswith(("np.", "jnp.")))
                ), f"{path.relative_to(ROOT)}: {name}"


def test_every_file_field_is_in_the_schema():
    from configs import base
    from experiment.create import FAMILIES, subtree

    found = 0
    for path, table in FAMILIES.items():
        for cls in table.values():
            for field in getattr(cls, "FILES", ()):
                found += 1
                assert field in subtree(base.get_config(), path), (path, field)
    assert found >= 5
