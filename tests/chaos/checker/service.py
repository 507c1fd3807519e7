"""I20–I24: what the service owes: in time, once, to everybody."""

from collections import defaultdict

from tests.chaos.checker.story import Story, short
from tests.chaos.checker.verdicts import Verdict
from tests.chaos.history import Op

ANSWER_SECONDS = 10.0
ANSWER_SLACK = 1.0  # the harness shares its cores with the system
FIRE_SECONDS = 5.0
RECOVERY_SECONDS = 30.0
CONTROL_SECONDS = 5.0  # an isolated fault may make the machine busy, not the others wait


def judge(story: Story) -> list[Verdict]:
    """The verdicts on the service."""
    return [_scheduled(story), _answered(story), _recovered(story), _conserved(story), _isolated(story)]


def _scheduled(story: Story) -> Verdict:
    verdict = Verdict("I20")
    seen: defaultdict[tuple[str, int], dict[str, Op]] = defaultdict(dict)
    for op in story.sightings:
        if op.sender and op.client_random is not None and op.message_id:
            seen[(op.sender, op.client_random)].setdefault(op.message_id, op)
    cancelled = {
        (one.invoke.user, one.invoke.client_random): one.end.time
        for one in story.attempts
        if one.invoke.op == "cancel" and one.is_ok and one.end is not None
    }
    # Members or devices came or went since it was written: its author is told, and it waits for new contents.
    states = {(op.user, op.client_random): op.status for op in story.by_op["planned"]}
    for attempt in story.attempts:
        op = attempt.invoke
        if op.op != "schedule" or op.user is None or op.client_random is None or op.due is None:
            continue
        key = (op.user, op.client_random)
        fired = seen.get(key, {})
        if len(fired) > 1:
            verdict.offend(f"fired {len(fired)} times: {short(op)}")
        if not attempt.is_ok:
            continue
        verdict.judged += 1
        if key in cancelled:
            if fired and cancelled[key] < op.due:
                verdict.offend(f"cancelled, and fired: {short(op)}")
            continue
        grace = FIRE_SECONDS + max([end - op.due for begin, end, _ in story.faults() if begin <= op.due + 5] + [0.0])
        grace += RECOVERY_SECONDS if story.in_fault(op.due, RECOVERY_SECONDS) else 0.0
        if not fired and states.get(key) in ("needs_reencrypt", "failed"):
            verdict.judged -= 1
            continue
        if not fired:
            if story.ended is not None and story.ended > op.due + grace:
                verdict.offend(f"never fired: {short(op)}")
            continue
        at = _seconds(next(iter(fired.values())).sent_at)
        if at is not None and not op.due - 0.001 <= at <= op.due + grace:
            verdict.offend(f"fired {at - op.due:+.1f} s from its time: {short(op)}")
    return verdict


def _seconds(text: str | None) -> float | None:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp() if text else None


def _answered(story: Story) -> Verdict:
    verdict = Verdict("I21")
    longest = 0.0
    for attempt in story.attempts:
        op, end = attempt.invoke, attempt.end
        if op.op in ("fault", "heal", "converged"):
            continue
        verdict.judged += 1
        if end is None:
            verdict.offend(f"no answer: {short(op)}")
        elif end.cut:
            verdict.judged -= 1
        elif end.code == "silence" or end.time - op.time > ANSWER_SECONDS + ANSWER_SLACK:
            verdict.offend(f"{end.time - op.time:.1f} s until {end.phase} {end.code or ''}: {short(op)}")
        elif end.code in ("internal_error", "http_500", "close_1011"):
            verdict.offend(f"a fault of the server's: {short(end)}")
        else:
            longest = max(longest, end.time - op.time)
    verdict.note = f"the longest took {longest:.1f} s" if verdict.judged else ""
    return verdict


def _recovered(story: Story) -> Verdict:
    verdict = Verdict("I22")
    for op in story.by_op["converged"]:
        verdict.judged += 1
        if op.phase != "ok":
            verdict.offend(f"not after {op.seconds or 0:.0f} s: {op.note}")
        elif (op.seconds or 0) > RECOVERY_SECONDS:
            verdict.offend(f"after {op.seconds:.1f} s")
    healed = [end for _, end, _ in story.faults()]
    if healed:
        calm = max(healed) + RECOVERY_SECONDS
        for attempt in story.attempts:
            if attempt.invoke.time > calm and attempt.end is not None and attempt.end.phase == "info":
                verdict.offend(f"an error after the recovery: {short(attempt.end)}")
    if verdict.judged:
        verdict.note = "after " + ", ".join(f"{op.seconds or 0:.1f} s" for op in story.by_op["converged"][:8])
    return verdict


def _conserved(story: Story) -> Verdict:
    verdict = Verdict("I23")
    for op in story.by_op["audit"]:
        verdict.judged += 1
        if op.count:
            verdict.offend(f"{op.note}: {op.count}")
    if not verdict.judged:
        verdict.note = "no audit of the database in this history"
    return verdict


def _isolated(story: Story) -> Verdict:
    verdict = Verdict("I24")
    windows = [(begin, end) for begin, end, fault in story.faults() if fault.isolated]
    if not windows:
        verdict.note = "no fault in this history that others must not feel"
        return verdict
    slowest = 0.0
    for attempt in story.attempts:
        op, end = attempt.invoke, attempt.end
        if not op.control or not any(begin <= op.time <= end_of for begin, end_of in windows):
            continue
        verdict.judged += 1
        until = end.time if end is not None else story.ops[-1].time
        # Less what the harness itself was late meanwhile.
        took = until - op.time - sum(lag.seconds or 0 for lag in story.by_op["lag"] if op.time <= lag.time <= until)
        slowest = max(slowest, took)
        if end is None or end.phase != "ok":
            verdict.offend(f"the control pair got {end.code if end else 'no answer'}: {short(op)}")
        elif took > CONTROL_SECONDS:
            verdict.offend(f"the control pair waited {took:.1f} s: {short(op)}")
    verdict.note = f"the control pair's slowest took {slowest:.2f} s" if verdict.judged else ""
    return verdict
