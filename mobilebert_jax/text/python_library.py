"""The texts inside this Python installation: the standard library's docstrings, the pydoc topics; nothing imported."""

import ast
import functools
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mobilebert_jax.utils.errors import UserError

# Tests, other people's packages, and applications that are often left out of an installation.
_EXCLUDED = frozenset(
    "test tests idle_test idlelib turtledemo ensurepip site-packages dist-packages pydoc_data __pycache__ "
    "__phello__".split()
)


@dataclass(frozen=True)
class Docstring:
    """One docstring: `module` is dotted, `name` is qualified within it ('' for the module itself).

    `kind` is "module", "class", "function" or "method".
    """

    module: str
    name: str
    kind: str
    text: str


@functools.cache
def library_docstrings() -> tuple[Docstring, ...]:
    """All docstrings of the standard library's .py files, by module name, then in the order of the source.

    Functions inside functions are left out. Takes a few seconds once. Raises UserError when this Python carries no
    sources.
    """
    root = Path(sysconfig.get_path("stdlib"))
    docstrings = []
    for module, path in sorted(_module_files(root)):
        tree = _parse(path)
        if tree is not None:
            docstrings.extend(_walk(tree, module))
    if not docstrings:
        raise UserError(
            f"{root}: no Python sources there; builtin:python-docs needs a Python with its standard library"
        )
    return tuple(docstrings)


def pydoc_topics() -> dict[str, str]:
    """The language reference that `help()` shows, by topic; empty where the installation lacks it."""
    path = Path(sysconfig.get_path("stdlib"), "pydoc_data", "topics.py")
    tree = _parse(path) if path.is_file() else None
    for node in tree.body if tree is not None else []:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            return dict(sorted(ast.literal_eval(node.value).items()))
    return {}


def _module_files(root: Path) -> Iterator[tuple[str, Path]]:
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        if not _EXCLUDED.intersection(parts) and all(part.isidentifier() for part in parts):
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _parse(path: Path) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old escape sequences in the library's own sources
            return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None  # templates and deliberately broken files


def _walk(tree: ast.Module, module: str) -> Iterator[Docstring]:
    def visit(node: ast.AST, name: str, kind: str) -> Iterator[Docstring]:
        if text := ast.get_docstring(node):
            yield Docstring(module, name, kind, text)
        for child in _definitions(node.body) if kind in ("module", "class") else ():
            qualified = f"{name}.{child.name}" if name else child.name
            function_kind = "method" if kind == "class" else "function"
            yield from visit(child, qualified, "class" if isinstance(child, ast.ClassDef) else function_kind)

    yield from visit(tree, "", "module")


def _definitions(statements: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Classes and functions among the statements, also those inside `if`, `try` and `with`."""
    for statement in statements:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement
        else:
            for part in ("body", "handlers", "orelse", "finalbody"):
                yield from _definitions(getattr(statement, part, []))
