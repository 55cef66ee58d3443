"""The house: imports point to a lower floor, rooms of one floor do not import each other, heavy peers stay inside."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "mobilebert_jax"
FLOORS = [
    {"utils"},
    {"models", "text", "parallel"},
    {"objectives", "optim", "quantization"},
    {"training", "inference"},
    {"tasks", "export"},
    {"recipes"},
    {"bench", "inspection", "report"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
PEERS = {"transformers", "torch", "tensorflow"}
EXTRAS = {"datasets", "tensorflow_datasets", "array_record", "sentencex"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if len(path.relative_to(PACKAGE).parts) > 1)


def imported_modules(node):
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide the floor"
        return [node.module]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    room = path.relative_to(PACKAGE).parts[0]
    assert room in FLOOR, f"{room} has no floor"
    for node in ast.walk(ast.parse(path.read_text())):
        for module in imported_modules(node):
            parts = module.split(".")
            if parts[0] == "mobilebert_jax":
                assert len(parts) > 1, f"{path.name} imports the package's own front door"
                assert parts[1] == room or FLOOR[parts[1]] < FLOOR[room], f"{room} imports {module}"
            if parts[0] in PEERS:
                assert room in {"export", "bench"}, f"{room} imports {module}"


def test_peers_are_imported_inside_functions_only():
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            for module in imported_modules(node):
                assert module.split(".")[0] not in PEERS | EXTRAS, path


def test_every_room_has_a_floor_and_every_file_is_walked():
    assert len(FILES) > 20
    assert {path.relative_to(PACKAGE).parts[0] for path in FILES} <= set(FLOOR)
