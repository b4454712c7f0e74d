"""Imports go one way, and nothing imports what it must not."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# room -> rooms of ours that it may import, besides itself
MAY_IMPORT = {
    "creation": set(),
    "configs": set(),
    "sde_lib": {"creation"},
    "models": {"creation", "sde_lib"},
    "data": {"creation"},
    "variance": {"creation", "sde_lib"},
    "variational": {"sde_lib", "variance"},
    "losses": {"creation", "models", "sde_lib", "variational"},
    "samplers": {"creation", "probability_flow", "sde_lib", "trajectory", "variance"},
    "trajectory": {"creation"},
    "probability_flow": {"sde_lib"},
    "likelihood": {"probability_flow", "sde_lib"},
    "encoding": {"probability_flow", "sde_lib"},
    "diagnostics": {"sde_lib"},
    "metrics": {"creation"},
    "figures": set(),
    "training": {"creation", "sde_lib", "models", "losses", "data"},
    "experiment": {
        "creation", "sde_lib", "models", "losses", "data", "samplers", "training", "variational",
    },
    "validation": {
        "creation", "data", "experiment", "likelihood", "losses", "models", "probability_flow", "samplers",
        "sde_lib", "training", "variance", "variational",
    },
    "evaluation": {
        "creation", "data", "diagnostics", "figures", "likelihood", "training", "variance", "variational",
    },
    "sample": {
        "creation", "data", "experiment", "figures", "samplers", "sde_lib", "training", "validation",
        "trajectory", "variance",
    },
    "calibrate": {"configs", "creation", "figures", "sample", "samplers", "training"},
    "estimate_variance": {"evaluation", "figures", "sample", "training", "variance", "variational"},
    "estimate_trajectory": {"evaluation", "figures", "sample", "training", "trajectory", "variational"},
    "table": {"creation", "samplers", "sde_lib"},
    "testbed": {"evaluation", "figures", "metrics", "sample", "training", "variational"},
    "evaluate": {
        "creation", "data", "evaluation", "figures", "metrics", "sample", "sde_lib", "testbed", "training",
    },
    "encode": {"data", "encoding", "evaluation", "figures", "sample", "training"},
    "train": {
        "creation", "data", "evaluation", "experiment", "figures", "sample", "training", "validation",
    },
    "papers": {
        "configs", "creation", "data", "estimate_variance", "evaluation", "experiment", "figures", "metrics",
        "sample", "train", "training", "variance",
    },
    "main": {
        "calibrate", "creation", "data", "encode", "estimate_trajectory", "estimate_variance", "evaluate",
        "experiment", "sample",
        "table", "train", "validation",
    },
}  # fmt: skip


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
    done, rest = set(), dict(MAY_IMPORT)
    while rest:
        free = [room for room, targets in rest.items() if targets <= done]
        assert free, f"cycle among {sorted(rest)}"
        for room in free:
            done.add(room)
            del rest[room]


def test_configs_are_data_only():
    for path in (ROOT / "configs").rglob("*.py"):
        assert {name.split(".")[0] for name in _imports(path)} <= {"configs", "ml_collections"}, path


def test_tensorflow_is_imported_nowhere():
    for path in ROOT.rglob("*.py"):
        if ".venv" not in path.parts:
            assert not any(name.split(".")[0] == "tensorflow" for name in _imports(path)), path
