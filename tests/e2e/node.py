"""Node for the tests of sdk/: where it is, and whether the workspace is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SDK = ROOT / "sdk"
NODE_MAJOR_MIN = 20


def require_node() -> Path:
    """A Node of at least version 20: the project's own (.tools), else the machine's.

    Skips the test where there is none, or where sdk/ is not installed.
    """
    for found in (ROOT / ".tools" / "bin" / "node", shutil.which("node")):
        if found is None or not Path(found).exists():
            continue
        said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
        version = re.match(r"v(\d+)\.", said)
        if version and int(version[1]) >= NODE_MAJOR_MIN:
            if not (SDK / "node_modules" / "vitest").is_dir():
                pytest.skip("sdk/ is not installed: run `npm ci` there (script/test does)")
            return Path(found)
    pytest.skip(f"there is no Node of at least version {NODE_MAJOR_MIN}: script/test installs one into .tools")


def node_environment(node: Path) -> dict[str, str]:
    """The environment in which Node and what it starts use this Node."""
    return {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}", "NO_COLOR": "1", "CI": "1"}
