"""How a development service behaves: well, slowly, wrongly, or not at all."""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal, get_args

import grpc

Kind = Literal["ok", "slow", "wrong", "error", "deny", "gone"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# A service that is slower than this is gone for all who ask.
SLOW_MAX_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Mode:
    """`ok`; `slow` by so many seconds; `wrong`: answers that break the contract; `error`: fails; `deny`: refuses what
    it is asked; `gone`: takes no connections."""

    kind: Kind = "ok"
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Mode":
        """`ok`, `slow:5`, `wrong`, `error`, `deny` or `gone`. Raises ValueError."""
        kind, _, seconds = text.partition(":")
        if kind not in KINDS or (kind == "slow") != bool(seconds):
            raise ValueError(f"{text!r}: a mode is ok, slow:SECONDS, wrong, error, deny or gone.")
        wait = float(seconds) if seconds else 0.0
        if not 0 <= wait <= SLOW_MAX_SECONDS:
            raise ValueError(f"{text!r}: seconds are between 0 and {SLOW_MAX_SECONDS:g}.")
        return cls(kind, wait)


OK = Mode()


class Behaviour:
    """The mode of one service, as its calls meet it; it may change at any time."""

    def __init__(self) -> None:
        self.mode = OK
        self.calls = 0
        self._wrong = 0

    async def meet(self, context: Any) -> bool:
        """Behave: wait, or fail, as the mode says; True where the answer is to be wrong."""
        self.calls += 1
        if self.mode.kind == "slow":
            await asyncio.sleep(self.mode.seconds)
        elif self.mode.kind == "error":
            await context.abort(grpc.StatusCode.INTERNAL, "broken, as asked for")
        elif self.mode.kind == "deny":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "refused, as asked for")
        return self.mode.kind == "wrong"

    def next_wrong(self, answers: int) -> int:
        """Which of so many wrong answers is the next: each in its turn."""
        self._wrong += 1
        return (self._wrong - 1) % answers
