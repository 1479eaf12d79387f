"""One door for each effect: this table holds who may use what."""

import ast
import re
from pathlib import Path

import barman

ROOT = Path(barman.__file__).parent
TESTS = Path(__file__).resolve().parents[1]

# A call or module → the only places that may use it (paths relative to barman/, a trailing slash stands for a package).
CALLS = {
    **dict.fromkeys(
        (
            "os.rename os.replace os.link os.unlink os.remove os.rmdir os.removedirs os.renames os.fsync os.fdatasync "
            "os.truncate os.ftruncate os.mkdir os.symlink os.chmod os.utime shutil.move shutil.rmtree shutil.copy "
            "shutil.copy2 shutil.copyfile shutil.copytree"
        ).split(),
        ("fs/",),
    ),
    # logs creates the directory of the log file.
    "os.makedirs": ("fs/", "logs.py"),
    "os.kill": ("process.py", "pipes.py", "fs/"),
    "os.posix_spawn": (),
    "os.posix_spawnp": ("pipes.py",),
    "os.killpg": ("process.py",),
    "os.system": (),
    "os.popen": (),
    "os.fork": ("pipes.py",),  # the clients are single-threaded
    "time.time": ("clock.py",),
    "time.sleep": ("clock.py",),
    "time.monotonic": ("clock.py",),
    "datetime.now": ("clock.py",),
    "datetime.utcnow": (),
    "datetime.today": (),
    "sys.exit": ("cli/main.py", "clients/", "config/reference.py"),
    "print": ("output/", "cli/main.py", "clients/", "config/reference.py"),
    "input": (),
    "eval": (),
    "exec": ("values.py",),  # the methods of value classes, made of the names of their fields
}
IMPORTS = {
    "subprocess": ("process.py",),
    "multiprocessing": (),
    "asyncio": (),
    "pickle": (),
    "paramiko": ("transport/paramiko_ssh.py",),
    "dateutil": ("timestamps.py",),
    "argcomplete": ("cli/completion.py",),
    "zstandard": ("compression/",),
    "lz4": ("compression/",),
    "cramjam": ("compression/",),
    "isal": ("compression/",),
    "zlib_ng": ("compression/",),
    "psycopg2": ("postgres/driver.py",),
    "prometheus_client": ("output/views/metrics.py",),
    "tempfile": (),
}


def modules(root):
    return sorted(root.rglob("*.py"))


def dotted(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else None
    return None


def allowed(path, places):
    relative = path.relative_to(ROOT).as_posix()
    return any(relative == place or (place.endswith("/") and relative.startswith(place)) for place in places)


def test_an_effect_is_called_only_behind_its_door():
    violations = []
    for path in modules(ROOT):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            name = dotted(node.func) if isinstance(node, ast.Call) else None
            if name in CALLS and not allowed(path, CALLS[name]):
                violations.append(f"{path.relative_to(ROOT)}:{node.lineno} calls {name}")
    assert violations == []


def test_a_file_is_opened_for_writing_only_in_fs():
    violations = []
    for path in modules(ROOT):
        if allowed(path, ("fs/",)):
            continue
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.Call) and dotted(node.func) == "open":
                modes = [node.args[1]] if len(node.args) > 1 else []
                modes += [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
                if any(not isinstance(mode, ast.Constant) or set(mode.value) & set("wax+") for mode in modes):
                    violations.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert violations == []


def test_a_third_party_is_imported_only_in_its_module():
    violations = []
    for path in modules(ROOT):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            violations += [
                f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"
                for name in names
                if name.split(".")[0] in IMPORTS and not allowed(path, IMPORTS[name.split(".")[0]])
            ]
    assert violations == []


def test_nothing_is_mocked():
    banned = "unittest." + "mock"
    assert [path for path in modules(TESTS) if banned in path.read_text()] == []


def test_what_a_check_is_told_to_pass_over_has_its_reason_beside_it():
    pattern = re.compile(
        r"#\s*(?:noqa|type: ignore)\b(?P<what>(?:: ?[A-Z]+\d+(?:, ?[A-Z]+\d+)*|\[[\w, -]+\])?)(?P<why>.*)"
    )
    bare = []
    for directory in ("barman", "tests", "scripts"):
        for path in sorted((ROOT.parent / directory).rglob("*.py")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                found = pattern.search(line)
                if found and not (found["what"] and re.search(r"\w{2}", found["why"])):
                    bare.append(f"{path.relative_to(ROOT.parent)}:{number}")
    assert bare == []
