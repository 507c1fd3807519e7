"""I7, I10, I11, I19: what each device was given."""

from collections import defaultdict
from dataclasses import dataclass, field

from tests.chaos.checker.story import MESSAGES, Story, short
from tests.chaos.checker.verdicts import Verdict
from tests.chaos.history import Op

# Raw repeats that a quiet system may make, of all that it pushes (docs/reliability.md).
REPEATS_PERMILLE = 10
# Own entries that come to the sending socket, of those that it was answered.
ECHOES_PERMILLE = 200


def judge(story: Story) -> list[Verdict]:
    """The verdicts on devices."""
    logs = _logs(story)
    return [_once_in_order(story, logs), _catch_up(story, logs), _fresh(story, logs), _own(story)]


@dataclass(slots=True)
class Log:
    """What one device holds of one conversation."""

    user: str
    received: list[Op] = field(default_factory=list)
    own: dict[int, Op] = field(default_factory=dict)  # seq -> the answer to a send of this device

    @property
    def seqs(self) -> set[int]:
        return {op.seq for op in self.received if op.seq is not None} | self.own.keys()


def _logs(story: Story) -> dict[tuple[str, str], Log]:
    logs: dict[tuple[str, str], Log] = {}
    for op in story.by_op["receive"]:
        if op.device and op.conversation and op.user:
            logs.setdefault((op.device, op.conversation), Log(op.user)).received.append(op)
    for sent in story.sends.values():
        for end in sent.oks:
            # An answer over REST is an answer to the same device, which therefore has it.
            if end.seq and end.device and end.user and end.conversation:
                logs.setdefault((end.device, end.conversation), Log(end.user)).own.setdefault(end.seq, end)
    return logs


def _online(story: Story) -> dict[str, int]:
    """device -> its last socket, of those that were there at the end."""
    there: dict[str, int] = {}
    for op in story.ops:
        if op.op == "end":
            break
        if op.op == "sync" and op.phase == "ok" and op.device and op.socket is not None:
            there[op.device] = op.socket
        elif op.op in ("gone", "revoke") and op.device:
            there.pop(op.target if op.op == "revoke" and op.target else op.device, None)
    return there


def _once_in_order(story: Story, logs: dict[tuple[str, str], Log]) -> Verdict:
    verdict = Verdict("I7")
    online = _online(story)
    raw = repeats = 0
    for (device, conversation), log in logs.items():
        have: set[int] = set()
        last: dict[int | None, int] = {}
        for op in log.received:
            seq = op.seq or 0
            verdict.judged += 1
            before = last.get(op.socket)
            if before is None and op.id is not None and op.id in story.joins:
                cursor = (story.joins[op.id].cursors or {}).get(conversation)
                before = cursor if cursor is not None else None
            quiet = not story.in_fault(op.time, 30.0)
            raw += quiet
            repeats += quiet and seq in have
            if op.socket in last and seq <= last[op.socket] and seq not in have:
                verdict.offend(f"out of order, {seq} after {last[op.socket]}: {short(op)}")
            if before is not None and seq > before + 1:
                missed = [one for one in range(before + 1, seq) if not _excused(story, log, have, conversation, one)]
                if missed:
                    verdict.offend(f"a gap before {seq}, {missed[:5]} are missing: {short(op)}")
            have.add(seq)
            last[op.socket] = max(last.get(op.socket, 0), seq)
        if device in online and story.ended is not None:
            head = max(story.places.get(conversation, {0: ""}))
            lacking = [
                seq
                for seq in range(1, head + 1)
                if seq not in have and seq not in log.own and story.may_see(conversation, log.user, seq)
            ]
            if lacking:
                verdict.offend(f"device {device[:8]} never got {lacking[:5]} ({len(lacking)}) of {conversation}")
    for device in online if story.ended is not None else ():
        user = next((op.user for op in reversed(story.by_op["sync"]) if op.device == device), None)
        for conversation, of in story.spans:
            if of == user and (device, conversation) not in logs and story.spans[(conversation, of)]:
                verdict.offend(f"device {device[:8]} got nothing of {conversation}")
    if raw and repeats * 1_000 > raw * REPEATS_PERMILLE and repeats > 3:
        verdict.offend(f"{repeats} of {raw} pushes outside faults were repeats")
    verdict.note = f"{repeats} of {raw} pushes outside faults were repeats" if raw else ""
    return verdict


def _excused(story: Story, log: Log, have: set[int], conversation: str, seq: int) -> bool:
    """A place that no push was due for: the device has it, or it is not the user's to see."""
    return seq in log.own or seq in have or story.may_see(conversation, log.user, seq) is False


def _catch_up(story: Story, logs: dict[tuple[str, str], Log]) -> Verdict:
    """At `sync_complete`, everything is there that was answered before its join was asked for."""
    verdict = Verdict("I10")
    answers: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for sent in story.sends.values():
        answer = sent.committed
        if answer is not None and answer.conversation and answer.seq:
            answers[answer.conversation].append((answer.time, answer.seq))
    highest: dict[str, list[tuple[float, int]]] = {}
    for conversation, times in answers.items():
        top, steps = 0, []
        for time, seq in sorted(times):
            top = max(top, seq)
            steps.append((time, top))
        highest[conversation] = steps
    by_device: defaultdict[str, list[tuple[str, Log]]] = defaultdict(list)
    for (device, conversation), log in logs.items():
        by_device[device].append((conversation, log))
    arrivals = {key: sorted((op.time, op.seq or 0) for op in log.received) for key, log in logs.items()}
    resets = {op.socket for op in story.by_op["resync"]}
    for op in story.by_op["sync"]:
        join = story.joins.get(op.id or 0)
        if op.phase != "ok" or join is None or op.device is None or op.socket in resets:
            continue
        for conversation, log in by_device[op.device]:
            upto = _at(highest.get(conversation, []), join.time)
            cursor = (join.cursors or {}).get(conversation, 0)
            if not upto or upto <= cursor or not story.may_see(conversation, log.user, upto):
                continue
            verdict.judged += 1
            have = {seq for time, seq in arrivals[(op.device, conversation)] if time <= op.time}
            have |= {seq for seq, end in log.own.items() if end.time <= op.time}
            lacking = [
                seq
                for seq in range(cursor + 1, upto + 1)
                if seq not in have and story.may_see(conversation, log.user, seq)
            ]
            if lacking:
                verdict.offend(f"sync_complete without {lacking[:5]} ({len(lacking)}) of {conversation}: {short(op)}")
    return verdict


def _at(steps: list[tuple[float, int]], time: float) -> int:
    low, high = 0, len(steps)
    while low < high:
        middle = (low + high) // 2
        if steps[middle][0] < time:
            low = middle + 1
        else:
            high = middle
    return steps[low - 1][1] if low else 0


@dataclass(slots=True)
class _Message:
    hash: str | None
    edited: bool = False
    gone: bool = False
    expires_at: float | None = None
    reactions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def _apply(ops: list[Op]) -> dict[str, _Message]:
    """The present state that a device computes from the log (docs/protocol.md "Two readings")."""
    state: dict[str, _Message] = {}
    for op in sorted({op.seq: op for op in ops}.values(), key=lambda one: one.seq or 0):
        if op.type in MESSAGES and op.message_id:
            state[op.message_id] = _Message(op.hash, gone=op.hash is None, expires_at=op.expires_at)
        elif op.type == "edit" and op.target in state and op.hash is not None:
            state[op.target].hash, state[op.target].edited = op.hash, True
        elif op.type == "reaction" and op.target in state and op.emoji and op.sender:
            users = state[op.target].reactions[op.emoji]
            (users.discard if op.remove else users.add)(op.sender)
        elif op.event in ("message_deleted", "message_expired"):
            for message_id in op.named or ():
                if message_id in state:
                    state[message_id].gone = True
    return state


def _fresh(story: Story, logs: dict[tuple[str, str], Log]) -> Verdict:
    """What each device computed from the events equals what its user is shown now."""
    verdict = Verdict("I11")
    views: defaultdict[tuple[str, str], dict[str, Op]] = defaultdict(dict)
    for op in story.by_op["view"]:
        if op.id in story.finals and op.user and op.conversation and op.message_id and op.type in MESSAGES:
            views[(op.user, op.conversation)][op.message_id] = op
    # A device does not get its own entries pushed: what it sent, it knows; the log of any other device has the entry.
    entries: dict[str, Op] = {}
    for op in story.by_op["receive"]:
        if op.message_id and op.event != "withheld":
            entries.setdefault(op.message_id, op)
    online = _online(story)
    # A block takes the blocked one's reactions out of what is shown, also those that were pushed before.
    hushed = {op.conversation for op in story.by_op["block"]}
    for (device, conversation), log in logs.items():
        shown = views.get((log.user, conversation))
        if device not in online or not shown or conversation in hushed:
            continue
        if any(end is not None for _, end in story.spans.get((conversation, log.user), ())):
            continue  # what was changed while the user was away from the conversation is not told to its devices
        own = [entries[end.message_id] for end in log.own.values() if end.message_id in entries]
        state = _apply([*own, *log.received])
        for message_id, view in shown.items():
            mine = state.get(message_id)
            if mine is None:
                continue  # its own last message, which nobody else saw: I7 says whether it lacks one
            verdict.judged += 1
            gone = view.hash is None
            near = mine.expires_at is not None and abs(view.time - mine.expires_at) < 2
            expired = mine.expires_at is not None and view.time > mine.expires_at
            if near or (gone and (mine.gone or expired)):
                continue
            if gone != (mine.gone or expired):
                verdict.offend(f"device {device[:8]} has it {'still' if gone else 'no more'}: {short(view)}")
            elif view.hash != mine.hash:
                verdict.offend(f"device {device[:8]} has another content: {short(view)}")
            elif {emoji: users for emoji, users in mine.reactions.items() if users} != {
                emoji: set(users) for emoji, users in (view.reactions or {}).items() if users
            }:
                verdict.offend(f"device {device[:8]} has other reactions: {short(view)}")
    return verdict


def _own(story: Story) -> Verdict:
    """A request has one answer. A socket that is pushed what it sent itself is a repeat, which is rare."""
    verdict = Verdict("I19")
    for op in story.twice:
        verdict.offend(f"a second answer: {short(op)}")
    for op in story.by_op["stray"]:
        verdict.offend(f"an answer that nobody asked for: {short(op)}")
    answered = {}
    for sent in story.sends.values():
        for one in sent.attempts:
            if one.is_ok and one.end is not None and one.end.status == "sent" and one.invoke.socket is not None:
                verdict.judged += 1
                answered[(one.invoke.socket, one.end.message_id)] = one.end
    echoes = [op for op in story.by_op["receive"] if (op.socket or -1, op.message_id) in answered]
    # A repair of the log that runs between the commit and the answer takes the entry along.
    if len(echoes) > 3 and len(echoes) * 1_000 > verdict.judged * ECHOES_PERMILLE:
        verdict.offend(f"{len(echoes)} pushed to the socket that sent them, as {short(echoes[0])}")
    if echoes:
        verdict.note = f"{len(echoes)} were pushed to the socket that sent them too"
    return verdict
