"""Histories made by hand, for the tests of the checker: a small world in which everything is as it should be."""

from datetime import UTC, datetime
from typing import Any

from tests.chaos.history import Op, Phase

ROOM = "room"
BEGIN = 1_000_000.0


def moment(seconds: float) -> str:
    """A time of the server's."""
    return datetime.fromtimestamp(BEGIN + seconds, UTC).isoformat()


class Tale:
    """Ann and Bob in a room. Ann has the devices a1 and a2, Bob b1. Times are seconds from the beginning."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.now = 0.0
        self._ids = 0
        self.head = 0
        for device, user in (("a1", "ann"), ("a2", "ann"), ("b1", "bob")):
            self.join(device, user)
        self.system("conversation_created", users=["ann", "bob"])

    def tick(self, seconds: float = 0.1) -> float:
        self.now += seconds
        return self.now

    def new_id(self) -> int:
        self._ids += 1
        return self._ids

    def note(self, op: str, phase: Phase, **fields: Any) -> Op:
        line = Op(time=BEGIN + self.now, op=op, phase=phase, **fields)
        self.ops.append(line)
        return line

    def join(self, device: str, user: str, catch_up: tuple[dict[str, Any], ...] = ()) -> int:
        """A device joins and is given what it lacks."""
        number = self.new_id()
        self.sockets = getattr(self, "sockets", {}) | {device: (user, number)}
        self.note("join", "invoke", id=number, user=user, device=device, socket=number, cursors={})
        self.tick(0.01)
        self.note("join", "ok", id=number, user=user, device=device, epoch="e")
        for entry in catch_up:
            self.receive(device, **entry)
        self.note("sync", "ok", id=number, user=user, device=device, socket=number)
        self.tick()
        return number

    def receive(self, device: str, seq: int, **fields: Any) -> Op:
        """A device is pushed an entry."""
        user, socket = self.sockets[device]
        base = {"conversation": ROOM, "seq": seq, "message_id": f"m{seq}", "type": "text", "sent_at": moment(seq)}
        return self.note("receive", "ok", id=socket, user=user, device=device, socket=socket, **(base | fields))

    def system(self, event: str, to: tuple[str, ...] = ("a1", "a2", "b1"), **fields: Any) -> int:
        """The server writes an entry, which everybody gets."""
        self.head += 1
        for device in to:
            self.receive(device, self.head, type="system", event=event, sender="ann", **fields)
        self.tick()
        return self.head

    def send(self, number: int, *, device: str = "a1", to: tuple[str, ...] = ("a2", "b1"), **fields: Any) -> int:
        """A device sends, is answered, and the others get it; the seq."""
        user, socket = self.sockets[device]
        line = self.new_id()
        kind = {"type": fields.pop("type", "text"), "target": fields.pop("target", None)}
        key = {"conversation": ROOM, "client_random": number}
        about = {"user": user, "device": device}
        self.note("send", "invoke", id=line, socket=socket, hash=f"h{number}", **kind, **key, **about)
        self.tick(0.01)
        self.head += 1
        place = {"message_id": f"m{self.head}", "seq": self.head, "sent_at": moment(self.head)} | fields
        self.note("send", "ok", id=line, status="sent", **place, **key, **about)
        self.tick(0.01)
        for one in to:
            extra = {name: value for name, value in fields.items() if name == "expires_at"}
            self.receive(one, self.head, sender=user, client_random=number, hash=f"h{number}", **kind, **extra)
        self.tick()
        return self.head

    def ask(self, op: str, device: str, phase: Phase = "ok", took: float = 0.01, **fields: Any) -> None:
        """Any other request, and its answer."""
        user, socket = self.sockets[device]
        line = self.new_id()
        end = {name: fields.pop(name) for name in ("code", "control") if name in fields}
        control = {"control": True} if end.pop("control", False) else {}
        self.note(op, "invoke", id=line, user=user, device=device, socket=socket, **control, **fields)
        self.tick(took)
        shown = {name: value for name, value in fields.items() if name in ("target", "conversation")}
        self.note(op, phase, id=line, user=user, device=device, **control, **shown, **end)
        self.tick()

    def fetch(self, device: str, *views: dict[str, Any], final: bool = True, head: int | None = None) -> None:
        """A user reads the room; a view is {seq, …}."""
        user, _ = self.sockets[device]
        line = self.new_id()
        note = {"note": "final"} if final else {}
        self.note("fetch", "invoke", id=line, user=user, device=device, conversation=ROOM, **note)
        self.tick(0.01)
        for view in views:
            seq = view["seq"]
            base = {"conversation": ROOM, "message_id": f"m{seq}", "type": "text", "sent_at": moment(seq)}
            self.note("view", "ok", id=line, user=user, device=device, **(base | view))
        last = head if head is not None else max((view["seq"] for view in views), default=0)
        self.note("fetch", "ok", id=line, user=user, device=device, conversation=ROOM, seq=last)
        self.tick()

    def fault(self, seconds: float, *, isolated: bool = False) -> tuple[float, float]:
        """A fault was at work for so long; from when until when."""
        line, begin = self.new_id(), self.now
        self.note("fault", "invoke", id=line, code="F0", isolated=isolated)
        self.ops.append(Op(time=BEGIN + begin + seconds, op="heal", phase="ok", id=line, code="F0"))
        self.ops.append(Op(time=BEGIN + begin + seconds, op="fault", phase="ok", id=line, code="F0"))
        self.tick()
        return begin, begin + seconds

    def end(self) -> list[Op]:
        """All is said."""
        self.note("end", "ok")
        return self.ops


def created(**fields: Any) -> dict[str, Any]:
    """The view of the first entry."""
    return {
        "seq": 1,
        "type": "system",
        "event": "conversation_created",
        "users": ["ann", "bob"],
        "sender": "ann",
    } | fields


def text(seq: int, number: int, **fields: Any) -> dict[str, Any]:
    """The view of a message of Ann's."""
    return {"seq": seq, "sender": "ann", "client_random": number, "hash": f"h{number}"} | fields
