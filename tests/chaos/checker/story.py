"""A history as the checks want it: attempts with their ends, messages by key and by place, spans of membership."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.chaos.history import Op

CONTENT = ("text", "media", "ephemeral", "edit")  # types whose entries carry a ciphertext
MESSAGES = ("text", "media", "ephemeral")
Key = tuple[str, int]  # (sender, clientRandom)


@dataclass(slots=True)
class Attempt:
    """One request, and how it ended, if it did."""

    invoke: Op
    end: Op | None = None

    @property
    def is_ok(self) -> bool:
        return self.end is not None and self.end.phase == "ok"


@dataclass(slots=True)
class Sent:
    """Everything that was tried under one key."""

    key: Key
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def begun(self) -> float:
        return self.attempts[0].invoke.time

    @property
    def oks(self) -> list[Op]:
        """The answers that named a place."""
        return [one.end for one in self.attempts if one.end is not None and one.is_ok and one.end.message_id]

    @property
    def committed(self) -> Op | None:
        """The first answer that says it is durable."""
        return next((end for end in self.oks if end.status != "pending" and end.seq), None)


class Story:
    """The index of a history."""

    def __init__(self, ops: Iterable[Op]) -> None:
        self.ops: Sequence[Op] = sorted(ops, key=lambda op: op.time)
        self.by_op: defaultdict[str, list[Op]] = defaultdict(list)
        self.attempts: list[Attempt] = []
        self.sends: dict[Key, Sent] = {}
        begun: dict[tuple[str, int], Attempt] = {}
        self.joins: dict[int, Op] = {}
        self.orphans: list[Op] = []  # ends without a beginning
        self.twice: list[Op] = []  # second ends of one beginning
        for op in self.ops:
            self.by_op[op.op].append(op)
            if op.phase == "invoke" and op.id is not None:
                attempt = begun[(op.op, op.id)] = Attempt(op)
                self.attempts.append(attempt)
                if op.op == "send" and op.user is not None and op.client_random is not None:
                    key = (op.user, op.client_random)
                    self.sends.setdefault(key, Sent(key)).attempts.append(attempt)
                if op.op in ("join", "fetch"):
                    self.joins[op.id] = op
            elif op.id is not None and op.op not in ("receive", "view", "sync", "resync", "status", "receipt"):
                attempt_or_none = begun.get((op.op, op.id))
                if attempt_or_none is None:
                    self.orphans.append(op)
                elif attempt_or_none.end is not None:
                    self.twice.append(op)
                else:
                    attempt_or_none.end = op
        # What anybody was shown of an entry, by push or by fetch.
        self.sightings = [op for op in self.ops if op.op in ("receive", "view") and op.phase == "ok"]
        self.places: defaultdict[str, dict[int, str]] = defaultdict(dict)  # conversation -> seq -> messageId
        self.first_seen: dict[str, Op] = {}
        for op in self.sightings:
            if op.conversation and op.seq is not None and op.message_id:
                self.places[op.conversation].setdefault(op.seq, op.message_id)
                self.first_seen.setdefault(op.message_id, op)
        self.spans = self._spans()
        self.ended = next((op.time for op in reversed(self.ops) if op.op == "end"), None)
        # Readings of everything at the end, whole ones only.
        fetches = (one for one in self.attempts if one.invoke.op == "fetch" and one.is_ok)
        self.finals = {one.invoke.id for one in fetches if one.invoke.note == "final"}

    def _spans(self) -> dict[tuple[str, str], list[tuple[int, int | None]]]:
        """(conversation, user) -> the stretches of seq that the user may see, from what the server wrote of it."""
        system: dict[tuple[str, int], Op] = {}
        for op in self.sightings:
            if op.event in ("conversation_created", "member_added", "member_removed") and op.conversation:
                system.setdefault((op.conversation, op.seq or 0), op)
        spans: defaultdict[tuple[str, str], list[tuple[int, int | None]]] = defaultdict(list)
        for (conversation, seq), op in sorted(system.items()):
            for user in op.users or ():
                own = spans[(conversation, user)]
                if op.event == "member_removed":
                    if own and own[-1][1] is None:
                        own[-1] = (own[-1][0], seq)
                elif not own or own[-1][1] is not None:
                    own.append((seq, None))
        return dict(spans)

    def may_see(self, conversation: str, user: str, seq: int) -> bool | None:
        """Whether the entry is the user's to see; None where the history does not say."""
        spans = self.spans.get((conversation, user))
        if not spans:
            return None
        at = bisect_right(spans, seq, key=lambda span: span[0]) - 1
        if at < 0:
            return False
        end = spans[at][1]
        return end is None or seq <= end

    def faults(self) -> list[tuple[float, float, Op]]:
        """(from, to, the fault): from its injection until it was healed, or the end."""
        found: list[tuple[float, float, Op]] = []
        opened: dict[int | None, Op] = {}
        for op in self.ops:
            if op.op == "fault" and op.phase == "invoke":
                opened[op.id] = op
            elif op.op == "heal" and op.phase == "ok" and op.id in opened:
                fault = opened.pop(op.id)
                found.append((fault.time, op.time, fault))
        last = self.ops[-1].time if self.ops else 0.0
        return found + [(fault.time, last, fault) for fault in opened.values()]

    def in_fault(self, time: float, slack: float = 0.0) -> bool:
        """Whether a fault was at work, or was healed less than `slack` seconds before."""
        return any(begin <= time <= end + slack for begin, end, _ in self._windows())

    def _windows(self) -> list[tuple[float, float, Op]]:
        if not hasattr(self, "_cached"):
            self._cached = self.faults()
        return self._cached


def short(op: Op) -> str:
    """An operation, for a person to find it in the file."""
    shown = {
        name: value
        for name, value in (
            ("user", op.user and op.user[:8]),
            ("device", op.device and op.device[:8]),
            ("conversation", op.conversation and op.conversation[:8]),
            ("clientRandom", op.client_random),
            ("messageId", op.message_id),
            ("seq", op.seq),
            ("upTo", op.up_to),
            ("code", op.code),
        )
        if value is not None
    }
    return f"{op.time:.3f} {op.op} {op.phase} " + " ".join(f"{name}={value}" for name, value in shown.items())
