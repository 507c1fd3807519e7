"""I1–I6, I8, I9: what was sent, and where it is."""

from collections import defaultdict
from itertools import pairwise

from tests.chaos.checker.story import CONTENT, MESSAGES, Sent, Story, short
from tests.chaos.checker.verdicts import Verdict


def judge(story: Story) -> list[Verdict]:
    """The verdicts on sends."""
    return [
        _durable(story),
        _phantom(story),
        _honest(story),
        _idempotent(story),
        _places(story),
        _gap_free(story),
        _real_time(story),
        _sent_at(story),
    ]


def _finals(story: Story) -> dict[str, dict[int, str]]:
    """conversation -> seq -> messageId, as the fetches at the end show it: all users' together."""
    found: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for op in story.by_op["view"]:
        if op.id in story.finals and op.conversation and op.seq is not None and op.message_id:
            found[op.conversation].setdefault(op.seq, op.message_id)
    return dict(found)


def _durable(story: Story) -> Verdict:
    verdict = Verdict("I1")
    finals = _finals(story)
    stale: list[float] = []
    for sent in story.sends.values():
        answer = sent.committed
        if answer is None or answer.conversation is None or answer.conversation not in finals:
            continue
        verdict.judged += 1
        found = finals[answer.conversation].get(answer.seq or 0)
        if found is None:
            verdict.offend(f"lost: {short(answer)}")
        elif found != answer.message_id:
            verdict.offend(f"another message is in its place: {short(answer)}, there is {found}")
        seen = story.first_seen.get(answer.message_id or "")
        if seen is not None:
            stale.append(max(0.0, seen.time - answer.time))
    if not verdict.judged:
        verdict.note = "no fetch of everything at the end"
    elif stale:
        stale.sort()
        p99 = stale[min(len(stale) - 1, len(stale) * 99 // 100)]
        verdict.note = f"first seen after p50 {stale[len(stale) // 2]:.2f} s, p99 {p99:.2f} s, max {stale[-1]:.2f} s"
    return verdict


def _phantom(story: Story) -> Verdict:
    verdict = Verdict("I2")
    tried: dict[tuple[str, int], tuple[set[str | None], set[str | None]]] = {}
    edits: defaultdict[str, set[str | None]] = defaultdict(set)
    for sent in story.sends.values():
        invokes = [one.invoke for one in sent.attempts]
        tried[sent.key] = ({op.hash for op in invokes}, {op.conversation for op in invokes})
        for op in invokes:
            if op.type == "edit" and op.target:
                edits[op.target].add(op.hash)
    scheduled = {(op.user, op.client_random): op for op in story.by_op["schedule"] if op.phase == "invoke"}
    for op in story.sightings:
        if op.type == "system" or op.event is not None:
            continue
        verdict.judged += 1
        key = (op.sender or "", -1 if op.client_random is None else op.client_random)
        planned = scheduled.get(key)
        if planned is not None:
            hashes, conversations = {planned.hash}, {planned.conversation}
        elif key in tried:
            hashes, conversations = tried[key]
        else:
            verdict.offend(f"nobody sent this: {short(op)} sender={op.sender}")
            continue
        allowed = hashes | edits.get(op.message_id or "", set()) | {None}
        if op.conversation not in conversations:
            verdict.offend(f"in another conversation: {short(op)}")
        elif op.hash not in allowed:
            verdict.offend(f"not what was sent: {short(op)} hash={op.hash}")
    return verdict


def _honest(story: Story) -> Verdict:
    verdict = Verdict("I3")
    seen = {(op.sender, op.client_random): op for op in story.sightings if op.client_random is not None}
    for sent in story.sends.values():
        ends = [one.end for one in sent.attempts]
        oks, last = sent.oks, ends[-1]
        if all(end is not None and end.phase == "fail" for end in ends):
            verdict.judged += 1
            if sent.key in seen:
                verdict.offend(f"failed, and is there: {short(ends[-1] or sent.attempts[-1].invoke)}")
        elif not oks and not any(one.is_ok for one in sent.attempts) and story.ended is not None:
            verdict.judged += 1
            if last is None or last.phase == "info":
                verdict.offend(f"never settled: {short(sent.attempts[0].invoke)}")
            elif last.phase == "fail" and sent.key in seen:
                verdict.offend(f"answered fail after an unknown outcome, and is there: {short(last)}")
        elif oks:
            verdict.judged += 1
    return verdict


def _idempotent(story: Story) -> Verdict:
    verdict = Verdict("I4")
    ids: defaultdict[tuple[str | None, int | None], set[str]] = defaultdict(set)
    for op in story.sightings:
        if op.client_random is not None and op.message_id:
            ids[(op.sender, op.client_random)].add(op.message_id)
    for sent in story.sends.values():
        settled = [end for end in sent.oks if end.status != "pending"]
        answers = {(end.message_id, end.seq, end.sent_at) for end in settled}
        verdict.judged += bool(settled)
        if len(answers) > 1:
            verdict.offend(f"{len(answers)} answers: {sorted(map(str, answers))} to {short(sent.attempts[0].invoke)}")
        rows = ids.get(sent.key, set()) | ({settled[0].message_id or ""} if settled and settled[0].seq else set())
        if len(rows) > 1:
            verdict.offend(f"{len(rows)} messages under one key: {short(sent.attempts[0].invoke)}")
        payloads = {(one.invoke.hash, one.invoke.conversation) for one in sent.attempts if one.is_ok}
        if len(payloads) > 1:
            verdict.offend(f"one key, two payloads, both accepted: {short(sent.attempts[0].invoke)}")
    return verdict


def _places(story: Story) -> Verdict:
    verdict = Verdict("I5")
    place_of: dict[str, tuple[str, int, str]] = {}
    at: dict[tuple[str, int, str], str] = {}
    named = [op for op in story.ops if op.op in ("receive", "view") and op.phase == "ok"]
    named += [end for sent in story.sends.values() for end in sent.oks]
    for op in named:
        if not op.conversation or not op.seq or not op.message_id:
            continue
        verdict.judged += 1
        place = (op.conversation, op.seq, op.epoch or "")
        if at.setdefault(place, op.message_id) != op.message_id:
            verdict.offend(f"two messages in one place: {short(op)} and {at[place]}")
        if place_of.setdefault(op.message_id, place) != place:
            verdict.offend(f"one message in two places: {short(op)} and seq {place_of[op.message_id][1]}")
    return verdict


def _gap_free(story: Story) -> Verdict:
    verdict = Verdict("I6")
    finals = _finals(story)
    heads: dict[str, int] = {}
    for attempt in story.attempts:
        op = attempt.invoke
        if op.id in story.finals and op.conversation and attempt.is_ok and attempt.end is not None and attempt.end.seq:
            heads[op.conversation] = max(heads.get(op.conversation, 0), attempt.end.seq)
    for conversation, log in finals.items():
        verdict.judged += 1
        head = max(heads.get(conversation, 0), max(log))
        first = min(log)
        missing = [seq for seq in range(1 if first == 1 else first, head + 1) if seq not in log]
        if missing:
            verdict.offend(f"{conversation}: {len(missing)} seqs of 1..{head} are missing, from {missing[0]}")
    for op in story.sightings:
        expected = finals.get(op.conversation or "", {}).get(op.seq or 0)
        if expected is not None and expected != op.message_id:
            verdict.offend(f"another order: {short(op)}, at the end there is {expected}")
    if not finals:
        verdict.note = "no fetch of everything at the end"
    return verdict


def _real_time(story: Story) -> Verdict:
    verdict = Verdict("I8")
    logs: defaultdict[str, list[tuple[Sent, float, int]]] = defaultdict(list)  # (send, answered, seq)
    piped: defaultdict[tuple[int, str], list[tuple[float, int, Sent]]] = defaultdict(list)
    for sent in story.sends.values():
        answer = sent.committed
        if answer is None or answer.seq is None or answer.conversation is None:
            continue
        logs[answer.conversation].append((sent, answer.time, answer.seq))
        first = sent.attempts[0]
        if first.end is answer and first.invoke.socket is not None:
            piped[(first.invoke.socket, answer.conversation)].append((first.invoke.time, answer.seq, sent))
    for log in logs.values():
        verdict.judged += len(log)
        answered = sorted(log, key=lambda one: one[1])
        highest, place = 0, 0
        holder: Sent | None = None
        for sent, _, seq in sorted(log, key=lambda one: one[0].begun):
            while place < len(answered) and answered[place][1] < sent.begun:
                if answered[place][2] > highest:
                    highest, holder = answered[place][2], answered[place][0]
                place += 1
            if seq < highest and holder is not None:
                verdict.offend(f"seq {seq}, begun after {highest} was answered: {short(sent.attempts[0].invoke)}")
    for sends in piped.values():
        # Equal times are one burst; the order of the lines is the order of the sends.
        for (_, before, _), (_, after, sent) in pairwise(sends):
            if after < before:
                verdict.offend(f"one socket's order is lost, {after} after {before}: {short(sent.attempts[0].invoke)}")
    return verdict


def _sent_at(story: Story) -> Verdict:
    verdict = Verdict("I9")
    logs: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for op in [*story.sightings, *(end for sent in story.sends.values() for end in sent.oks)]:
        if op.conversation and op.seq and op.sent_at:
            known = logs[op.conversation].setdefault(op.seq, op.sent_at)
            if known != op.sent_at:
                verdict.offend(f"sentAt changed from {known} to {op.sent_at}: {short(op)}")
    for conversation, log in logs.items():
        for (before, earlier), (after, later) in pairwise(sorted(log.items())):
            verdict.judged += 1
            if _time(later) <= _time(earlier):
                verdict.offend(f"{conversation}: seq {before} at {earlier}, {after} at {later}")
    return verdict


def _time(text: str) -> tuple[str, str]:
    """RFC 3339 in UTC, comparable: the fraction may be absent."""
    whole, _, fraction = text.rstrip("Z").removesuffix("+00:00").partition(".")
    return whole, fraction.ljust(9, "0")


__all__ = ["CONTENT", "MESSAGES", "judge"]
