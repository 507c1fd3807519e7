"""`python -m tests.chaos.checker FILE [FILE …]`: the verdicts; the exit code is 1 where one is a violation."""

import sys
from pathlib import Path

from tests.chaos.checker.verdicts import INVARIANTS, check
from tests.chaos.history import read


def main(files: list[str]) -> int:
    """Judge each file by itself."""
    if not files:
        print("usage: python -m tests.chaos.checker FILE [FILE …]")
        return 2
    violated = False
    for name in files:
        verdicts = check(list(read(Path(name))))
        print(name)
        for verdict in verdicts:
            print(f"  {verdict.id:4} {verdict.state:10} {INVARIANTS[verdict.id]}{verdict.detail()}")
            for offence in verdict.offences:
                print(f"         {offence}")
        violated |= any(verdict.state == "violated" for verdict in verdicts)
    return 1 if violated else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
