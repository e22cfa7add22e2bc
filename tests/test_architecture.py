"""The arrows of the architecture, read from the imports.

`mappings/` and `ledger/` are libraries that would run without the rest; inside `adapter/`, framing and sealing import
nothing above them, and the edges are imported by no one. And no package tells the type checker to look away.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STDLIB = frozenset(sys.stdlib_module_names)

ALLOWED = {
    "mappings": STDLIB | {"mappings", "lxml", "msgspec", "fhir", "hl7apy"},
    "ledger": STDLIB | {"ledger", "cryptography", "msgspec"},
}
# what would bring sockets, disks of others, clocks or keys into the pure core
NEVER = {"mappings": {"socket", "asyncio", "secrets", "ssl", "sqlite3", "http"}, "ledger": {"http", "ssl", "socket"}}
ASSEMBLING = (
    "adapter/api/",
    "adapter/cli/",
    "adapter/node.py",
    "adapter/receiving.py",
    "adapter/role.py",
    "adapter/services.py",
    "adapter/bench/",
)
EDGES = ("adapter.api", "adapter.cli", "adapter.inbound.listener", "adapter.inbound.http")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_library_imports_only_what_it_may(package: str) -> None:
    strangers = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(package)
        for name in imports(path)
        if name.split(".")[0] not in ALLOWED[package] or name.split(".")[0] in NEVER[package]
    }
    assert strangers == set()


def test_hl7apy_stays_off_the_mapping_path() -> None:
    """It authors and judges HL7 v2, whose typed segments and tables are its own: `lint.py` reports with it, `out/`
    writes messages for other systems with it. What comes in is never read by it (architecture, decisions), so nothing
    between a received message and its FHIR imports one of the two."""
    authoring = ("mappings.hl7v2.lint", "mappings.hl7v2.out")
    users = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("mappings")
        for name in imports(path)
        if name.split(".")[0] == "hl7apy" or name.startswith(authoring)
        if not str(path.relative_to(ROOT)).startswith(("mappings/hl7v2/lint.py", "mappings/hl7v2/out/"))
    }
    assert users == set()


def test_framing_and_sealing_import_nothing_above_them() -> None:
    framing = set(imports(ROOT / "adapter/inbound/mllp.py"))
    assert not {name for name in framing if name.startswith(("adapter", "asyncio", "socket"))}
    for path in modules("adapter/seal"):
        above = {
            name
            for name in imports(path)
            if name.startswith("adapter.") and not name.startswith(("adapter.seal", "adapter.errors"))
        }
        assert above == set(), path


def test_edges_are_called_by_no_one() -> None:
    """Only what puts a node together may import an edge (and an edge its own package)."""
    callers = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules("adapter")
        for name in imports(path)
        if any(name == edge or name.startswith(edge + ".") for edge in EDGES)
        and not str(path.relative_to(ROOT)).startswith(ASSEMBLING)
    }
    assert callers == set()


def test_product_code_is_typed_without_exceptions() -> None:
    packages = [path for package in ("adapter", "ledger", "mappings") for path in modules(package)]
    silenced = {str(path.relative_to(ROOT)) for path in packages if "# type: ignore" in path.read_text("utf-8")}
    assert silenced == set()
