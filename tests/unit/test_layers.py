"""The table of layers: who may import whom."""

import ast
from pathlib import Path

import pytest

import barman

ROOT = Path(barman.__file__).parent

# A package imports only packages of lower lines; modules of line 0 may import one another.
LINES = [
    {"errors", "report", "clock", "units", "timestamps", "logs", "interrupts", "workers", "values", "help", "typing"},
    {"process", "pipes", "fs"},
    {"postgres", "transport", "compression", "encryption"},
    {"catalog"},
    {"retention"},
    {"config"},
    {"server"},
    {"hooks"},
    {"wal"},
    {"backup"},
    {"sync"},
    {"restore", "check", "status"},
    {"cron"},
    {"output"},
    {"cli"},
]
LINE_OF = {name: number for number, names in enumerate(LINES) for name in names}
CLIENTS_MAY_USE = LINES[0] | LINES[1] | {"postgres", "compression"}

# Modules that compute only: they import nothing that touches disk, network, programs or the clock.
PURE = [
    "catalog/backup_id.py",
    "catalog/backup_info.py",
    "catalog/chain.py",
    "catalog/view.py",
    "retention/policy.py",
    "retention/report.py",
    "retention/tiers.py",
    "retention/reasons.py",
    "postgres/lsn.py",
    "postgres/version.py",
    "postgres/wal_name.py",
    "postgres/timeline.py",
    "postgres/wal_run.py",
    "wal/recovery_path.py",
    "wal/recovery_window.py",
    "wal/admission.py",
    "wal/required.py",
    "wal/usable.py",
    "wal/expire.py",
    "backup/plan.py",
    "backup/bundle.py",
    "backup/delete_plan.py",
    "backup/retention_plan.py",
    "backup/copy_plan.py",
    "backup/copy_rules.py",
    "backup/listing.py",
    "transport/ssh_command.py",
    "restore/select.py",
    "restore/plan.py",
    "sync/plan.py",
    "sync/protocol.py",
    "cron/plan.py",
]
EFFECTS = {"os", "subprocess", "shutil", "socket", "psycopg2", "paramiko", "time", "tempfile", "threading"}
EFFECT_MODULES = ("barman.fs", "barman.process", "barman.clock", "barman.transport", "barman.postgres.connection")


def modules():
    return sorted(ROOT.rglob("*.py"))


def package_of(path):
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path):
    """Every module a file imports when it runs; imports for annotations only bind nothing."""
    tree = ast.parse(path.read_text(), str(path))
    typing_only = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            typing_only.update(id(inner) for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module


def may_import(importer, imported):
    if importer == imported or importer in ("__init__", "__main__"):
        return True
    if importer == "clients":
        return imported in CLIENTS_MAY_USE
    if imported == "clients":
        return False
    assert importer in LINE_OF, f"package {importer} stands on no line of the table"
    assert imported in LINE_OF, f"package {imported} stands on no line of the table"
    return LINE_OF[imported] < LINE_OF[importer] or LINE_OF[imported] == LINE_OF[importer] == 0


def test_a_package_imports_only_packages_of_lower_lines():
    violations = []
    for path in modules():
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] == "barman" and len(parts) > 1 and not may_import(package_of(path), parts[1]):
                violations.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert violations == []


def test_there_are_no_cycles_between_modules():
    graph = {}
    names = {".".join(("barman", *path.relative_to(ROOT).with_suffix("").parts)): path for path in modules()}
    for name, path in names.items():
        tree = ast.parse(path.read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        graph[name] = {
            target
            for node in top
            for target in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
            if target in names and target != name
        }
    done, path = set(), []

    def visit(name):
        if name in done:
            return
        assert name not in path, "cycle: " + " -> ".join([*path[path.index(name) :], name])
        path.append(name)
        for target in graph[name]:
            visit(target)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_nothing_that_has_effects(module):
    for line, name in imports(ROOT / module):
        assert name.split(".")[0] not in EFFECTS, f"{module}:{line} imports {name}"
        assert not name.startswith(EFFECT_MODULES), f"{module}:{line} imports {name}"


def test_no_package_is_called_utils_helpers_common_or_manager():
    banned = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert [path for path in modules() if path.stem in banned] == []
