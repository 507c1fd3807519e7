"""I12–I18: what people may know, and until when."""

from bisect import bisect_left
from collections import defaultdict

from tests.chaos.checker.story import MESSAGES, Story, short
from tests.chaos.checker.verdicts import Verdict
from tests.chaos.history import Op

EXPIRY_SLACK = 1.0  # s
REVOKED_SLACK = 5.0  # s
RECOVERY_SECONDS = 30.0  # after a fault, for everything to be as ever
REVOKED_SLACK_IN_FAULT = 60.0  # s: without Redis, sockets are looked at again within a minute


def judge(story: Story) -> list[Verdict]:
    """The verdicts on receipts and on who sees what."""
    acks = _Acks(story)
    return [
        _monotone(story, acks),
        _honest_receipts(story, acks),
        _expired(story),
        *_members(story),
        _revoked(story),
        _changes(story),
    ]


class _Acks:
    """Per (conversation, user): what its devices said they have, over time, as running maxima."""

    def __init__(self, story: Story) -> None:
        raw: defaultdict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
        answered: defaultdict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
        pushes: defaultdict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
        for op in story.by_op["receive"]:
            pushes[(op.conversation or "", op.device or "")].append((op.time, op.seq or 0))
        shown = {key: _maxima(rows) for key, rows in pushes.items()}
        for attempt in story.attempts:
            op = attempt.invoke
            if op.op in ("ack", "read") and op.conversation and op.user and op.up_to is not None:
                raw[(op.conversation, op.user)].append((op.time, op.up_to))
                if attempt.is_ok and attempt.end is not None:
                    # What was never pushed to a device counts as received by no acknowledgement of its.
                    pushed = _at(shown.get((op.conversation, op.device or "")), op.time)
                    answered[(op.conversation, op.user)].append((attempt.end.time, min(op.up_to, pushed)))
        self.said = {key: _maxima(rows) for key, rows in raw.items()}
        self.answered = {key: _maxima(rows) for key, rows in answered.items()}

    def before(self, conversation: str, user: str, time: float) -> int:
        """The highest seq that any device of the user had acknowledged or tried to, before `time`."""
        return _at(self.said.get((conversation, user)), time)

    def confirmed(self, conversation: str, user: str, time: float) -> int:
        """The highest seq whose acknowledgement was answered ok before `time`."""
        return _at(self.answered.get((conversation, user)), time)


Maxima = tuple[list[float], list[int]]


def _maxima(rows: list[tuple[float, int]]) -> Maxima:
    times, tops, top = [], [], 0
    for time, upto in sorted(rows):
        top = max(top, upto)
        times.append(time)
        tops.append(top)
    return times, tops


def _at(maxima: Maxima | None, time: float) -> int:
    times, tops = maxima or ([], [])
    at = bisect_left(times, time)
    return tops[at - 1] if at else 0


def _monotone(story: Story, acks: _Acks) -> Verdict:
    verdict = Verdict("I12")
    last: dict[tuple[object, ...], int] = {}
    for op in story.by_op["status"]:
        verdict.judged += 1
        key = (op.socket, op.conversation, op.recipient, op.status)
        if (op.up_to or 0) < last.get(key, 0):
            verdict.offend(f"went back from {last[key]}: {short(op)} {op.status} of {op.recipient}")
        last[key] = max(last.get(key, 0), op.up_to or 0)
    steps = {"sent": 0, "pending": 0, "expired": 0, "delivered": 1, "read": 2}
    known: dict[tuple[str | None, str | None], Op] = {}
    hushed = {op.conversation for op in story.by_op["block"]}  # the two learn nothing more of each other
    asked = {one.invoke.id: one.invoke.time for one in story.attempts if one.invoke.op == "receipts"}
    for op in story.by_op["delivery"]:
        if op.phase != "ok" or op.status is None:
            continue
        verdict.judged += 1
        before = known.get((op.message_id, op.recipient))
        if before is not None:
            if steps[op.status] < steps[before.status or "pending"]:
                verdict.offend(f"from {before.status} back to {op.status}: {short(op)}")
            if (before.at and op.at != before.at) or (before.read_at and op.read_at != before.read_at):
                verdict.offend(f"its times changed: {short(op)}")
        if op.read_at and (not op.at or op.at > op.read_at):
            verdict.offend(f"read before delivered: {short(op)}")
        known[(op.message_id, op.recipient)] = op
    for op in story.by_op["receipt"]:
        if op.conversation and op.recipient and op.up_to is not None and op.conversation not in hushed:
            verdict.judged += 1
            if (op.read_up_to or 0) > op.up_to:
                verdict.offend(f"read beyond delivered: {short(op)}")
            # What was answered before the question was asked.
            confirmed = acks.confirmed(op.conversation, op.recipient, asked.get(op.id or 0, op.time))
            if op.up_to < confirmed:
                verdict.offend(f"acknowledged up to {confirmed}, and the server says {short(op)} of {op.recipient[:8]}")
    return verdict


def _honest_receipts(story: Story, acks: _Acks) -> Verdict:
    verdict = Verdict("I13")
    for op in story.by_op["status"] + story.by_op["receipt"]:
        if op.conversation and op.recipient and op.up_to is not None:
            verdict.judged += 1
            said = acks.before(op.conversation, op.recipient, op.time)
            if op.up_to > said:
                verdict.offend(f"{op.recipient[:8]} had acknowledged {said} only: {short(op)}")
    seqs = {message: seq for log in story.places.values() for seq, message in log.items()}
    for op in story.by_op["delivery"]:
        seq = seqs.get(op.message_id or "")
        if op.status in ("delivered", "read") and op.conversation and op.recipient and seq is not None:
            verdict.judged += 1
            if seq > acks.before(op.conversation, op.recipient, op.time):
                verdict.offend(f"{op.recipient[:8]} never acknowledged it: {short(op)}")
    return verdict


def _expired(story: Story) -> Verdict:
    verdict = Verdict("I14")
    expiry: dict[str, float] = {}
    for op in story.ops:
        if op.message_id and op.expires_at is not None and op.phase == "ok":
            expiry.setdefault(op.message_id, op.expires_at)
    for op in story.sightings:
        at = expiry.get(op.message_id or "")
        if at is None and op.target:
            at = expiry.get(op.target)  # an edit dies with its message
        asked = story.joins.get(op.id or 0)
        if at is None or asked is None or asked.time <= at + EXPIRY_SLACK:
            continue
        verdict.judged += 1
        if op.hash is not None:
            verdict.offend(f"expired {asked.time - at:.1f} s before it was asked for, and shown: {short(op)}")
    for op in story.by_op["audit"]:
        if op.note and op.note.startswith("expired"):
            verdict.judged += 1
            if op.count:
                verdict.offend(f"{op.note}: {op.count}")
    return verdict


def _members(story: Story) -> tuple[Verdict, Verdict]:
    removed, joined = Verdict("I15"), Verdict("I16")
    for op in story.sightings:
        if not op.conversation or not op.user or not op.seq:
            continue
        spans = story.spans.get((op.conversation, op.user))
        if not spans:
            continue
        ends = [end for _, end in spans if end is not None]
        removed.judged += bool(ends)
        joined.judged += spans[0][0] > 1
        if story.may_see(op.conversation, op.user, op.seq) is False:
            before = op.seq < spans[0][0]
            (joined if before else removed).offend(f"not theirs to see, spans {spans}: {short(op)}")
    for sent in story.sends.values():
        answer = sent.committed
        if answer is None or not answer.conversation or not answer.seq:
            continue
        if story.may_see(answer.conversation, sent.key[0], answer.seq) is False:
            removed.offend(f"written by somebody who was no member: {short(answer)}")
    blocks: dict[tuple[str, str, str], float] = {}
    for op in story.by_op["block"]:
        if op.phase == "ok" and op.user and op.target and op.conversation:
            blocks.setdefault((op.conversation, op.user, op.target), op.time)
    for op in story.by_op["receive"]:
        blocked = blocks.get((op.conversation or "", op.user or "", op.sender or ""))
        if blocked is None:
            continue
        if op.event is None:
            joined.judged += 1
            found = story.sends.get((op.sender or "", -1 if op.client_random is None else op.client_random))
            if found is not None and found.begun > blocked:
                joined.offend(f"a blocked sender's, sent {found.begun - blocked:.2f} s after the block: {short(op)}")
    return removed, joined


def _revoked(story: Story) -> Verdict:
    verdict = Verdict("I17")
    ended = {op.target: op.time for op in story.by_op["revoke"] if op.phase == "ok" and op.target}
    verdict.judged = len(ended)
    for op in story.by_op["receive"]:
        at = ended.get(op.device or "")
        if at is None:
            continue
        slack = REVOKED_SLACK_IN_FAULT if story.in_fault(at, RECOVERY_SECONDS) else REVOKED_SLACK
        if op.time > at + slack:
            verdict.offend(f"{op.time - at:.1f} s after it was revoked: {short(op)}")
    return verdict


def _changes(story: Story) -> Verdict:
    verdict = Verdict("I18")
    deleted: dict[str, float] = {}
    for attempt in story.attempts:
        op = attempt.invoke
        if op.op == "delete" and attempt.is_ok and attempt.end is not None and op.message_id:
            deleted.setdefault(op.message_id, attempt.end.time)
    authors: dict[str, str] = {}
    for op in story.sightings:
        asked = story.joins.get(op.id or 0)
        at = deleted.get(op.message_id or "")
        if at is not None and asked is not None and asked.time > at:
            verdict.judged += 1
            if op.hash is not None:
                verdict.offend(f"deleted {asked.time - at:.2f} s before it was asked for, and shown: {short(op)}")
        if op.type in MESSAGES and op.message_id and op.sender:
            authors[op.message_id] = op.sender
    edits: defaultdict[str, dict[int, Op]] = defaultdict(dict)
    withheld = {(op.user, op.conversation, op.seq) for op in story.sightings if op.event == "withheld"}
    for op in story.sightings:
        if op.type == "edit" and op.target:
            verdict.judged += 1
            if authors.get(op.target, op.sender) != op.sender:
                verdict.offend(f"an edit by somebody else: {short(op)}")
            if op.hash is not None:
                edits[op.target].setdefault(op.seq or 0, op)
    for op in story.by_op["view"]:
        known = edits.get(op.message_id or "", {})
        # Whoever left sees the message as it was then.
        visible = [
            seq
            for seq in known
            if story.may_see(op.conversation or "", op.user or "", seq) is not False
            and (op.user, op.conversation, seq) not in withheld
        ]
        if op.id in story.finals and visible and op.hash is not None:
            verdict.judged += 1
            if op.hash != known[max(visible)].hash:
                verdict.offend(f"its latest edit is {max(visible)}, and it shows another: {short(op)}")
    return verdict
