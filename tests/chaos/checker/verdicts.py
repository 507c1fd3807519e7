"""The invariants, and the verdict on each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from tests.chaos.history import Op

INVARIANTS = {
    "I1": "acknowledged means durable",
    "I2": "no phantom",
    "I3": "honest failure",
    "I4": "idempotent send",
    "I5": "one id a place, one place an id",
    "I6": "gap-free order, the same for all",
    "I7": "each device: once, in order, without a gap",
    "I8": "real-time order",
    "I9": "sentAt increases with seq",
    "I10": "no partial catch-up",
    "I11": "snapshot and events make a fresh snapshot",
    "I12": "receipts are monotone",
    "I13": "no false delivered",
    "I14": "ephemeral is dead everywhere",
    "I15": "removed member sees nothing after",
    "I16": "joiner and blocked see nothing of theirs",
    "I17": "revoked device gets nothing",
    "I18": "deleted for everyone is gone; edits converge",
    "I19": "own devices once, originator one answer",
    "I20": "scheduled fires exactly once, in time",
    "I21": "every request answered in 10 s",
    "I22": "recovery in 30 s",
    "I23": "side effects conserve",
    "I24": "others do not feel it",
}
SHOWN = 5
State = Literal["ok", "violated", "not judged"]


@dataclass
class Verdict:
    """What became of one invariant. `judged` counts what was looked at; where nothing was, `note` says why."""

    id: str
    judged: int = 0
    violations: int = 0
    offences: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def state(self) -> State:
        """A violation is one whatever else could not be judged."""
        if self.violations:
            return "violated"
        return "ok" if self.judged else "not judged"

    def offend(self, text: str) -> None:
        """Note a violation; the first few with their text."""
        self.violations += 1
        if len(self.offences) < SHOWN:
            self.offences.append(text)

    def detail(self) -> str:
        """For the line of the report."""
        parts = [f"{self.judged} judged"] if self.judged else []
        parts += [f"{self.violations} violations"] if self.violations else []
        parts += [self.note] if self.note else []
        return f" ({'; '.join(parts)})" if parts else ""


def check(ops: Iterable[Op]) -> list[Verdict]:
    """The verdicts on a history, in the order of the invariants."""
    from tests.chaos.checker import devices, people, sends, service
    from tests.chaos.checker.story import Story

    story = Story(ops)
    checks: list[Callable[[Story], list[Verdict]]] = [sends.judge, devices.judge, people.judge, service.judge]
    found = {verdict.id: verdict for judge in checks for verdict in judge(story)}
    assert found.keys() == INVARIANTS.keys(), found.keys() ^ INVARIANTS.keys()
    return [found[name] for name in INVARIANTS]
