"""The load generator: workloads over the real protocol, against real servers (bench/README.md)."""

import sys
from pathlib import Path

# Its REST requests go through the Python client, which is used from the tree and not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "sdk" / "python" / "src"))
