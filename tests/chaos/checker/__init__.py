"""The offline checker: `python -m tests.chaos.checker FILE`. One verdict an invariant, with the offending operations.

Every check sorts what it looks at once; none compares all pairs.
"""

from tests.chaos.checker.verdicts import INVARIANTS, Verdict, check

__all__ = ["INVARIANTS", "Verdict", "check"]
