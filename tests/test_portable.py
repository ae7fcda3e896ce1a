"The package runs on Windows and macOS: nothing of POSIX alone, text files always in a named encoding."
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(p for p in (ROOT / "deepslide_nb").glob("*.py") if p.name != "_modidx.py")
POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty"}
POSIX_CALLS = {"fork", "getuid", "geteuid", "getgid", "mkfifo", "killpg", "setsid", "chown", "getpgid", "uname", "sched_getaffinity", "getloadavg", "SIGKILL", "SIGALRM"}
GUARDED = {("cli.py", "sysconf")}  # asked for, and done without where it is missing


def text_without_encoding(call):
    "Whether a call reads or writes text in whatever encoding the machine has."
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if any(k.arg == "encoding" for k in call.keywords):
        return False
    if name in ("read_text", "write_text"):
        return True
    if name == "open" and isinstance(call.func, ast.Name):
        mode = call.args[1] if len(call.args) > 1 else None
        return not (isinstance(mode, ast.Constant) and "b" in mode.value)
    return False


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_nothing_of_posix_alone(path):
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {a.name.split(".")[0] for a in node.names} | {(getattr(node, "module", None) or "").split(".")[0]}
            found += [f"line {node.lineno}: imports {n}" for n in names & POSIX_MODULES]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("os", "signal"):
            if node.attr in POSIX_CALLS | {"sysconf"} and (path.name, node.attr) not in GUARDED:
                found.append(f"line {node.lineno}: {node.value.id}.{node.attr}")
        elif isinstance(node, ast.Call) and text_without_encoding(node):
            found.append(f"line {node.lineno}: text without an encoding")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(("/tmp/", "/dev/", "/proc/", "/usr/")):
            found.append(f"line {node.lineno}: the path {node.value}")
    assert not found
