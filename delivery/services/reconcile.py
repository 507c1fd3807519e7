"""The reconciliation: checks the tables against each other and the logs, and repairs what can be (specification §5.3,
docs/operations.md "Reconciliation")."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from delivery.store import reconcile as store
from delivery.store import reconcile_runs as runs
from delivery.store.reconcile_checks import CHECKS, KEY_ORPHAN, Check
from messaging.store.recent import recent_note
from whispr.kernel import database, telemetry
from whispr.kernel.errors import WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop
from whispr.kernel.redis import RedisAway, RedisLink
from whispr.kernel.stopping import is_stopping

log = logging.getLogger(__name__)
_links: PerLoop[RedisLink] = PerLoop(lambda: RedisLink("reconcile"))

# One run of the task; its pass goes on in the next.
WORK_SECONDS = 20.0
# Who died in the middle of a pass holds it for so long. Saved after each batch, which takes a second or two.
LEASE_SECONDS = 60.0
# Between two batches: others want the database too.
REST_SECONDS = 0.05
# The place of a pass that is through the conversations and goes through the deduplication keys.
KEYS_PHASE = -1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a pass came to: counts by check."""

    conversations: int
    entries: int
    found: dict[str, int]
    repaired: dict[str, int]
    examples: list[dict[str, str]]
    complete: bool


async def reconcile(*, repair: bool, conversation_id: UUID | None = None) -> Outcome:
    """One whole pass, now, over all conversations or one. Raises what the database raises when it is away."""
    run = await database.run(runs.run_begin, repair, conversation_id)
    while await _step(run):
        await database.run(runs.run_save, run, 0.0)
    await database.run(runs.run_end, run)
    return _outcome(run, complete=True)


async def reconcile_scheduled() -> int:
    """Go on with the scheduled pass for at most 20 seconds, or begin one where it is time; how many entries were seen.

    Everything that can be repaired is, unless WHISPR_RECONCILE_REPAIR is 0.
    """
    interval, repair = LIMITS.reconcile_interval_seconds, bool(LIMITS.reconcile_repair)
    run = await database.run(runs.run_claim, interval, LEASE_SECONDS, repair)
    if run is None:
        return 0
    before = run.entries
    ends = asyncio.get_running_loop().time() + WORK_SECONDS
    ended = False
    try:
        while await _step(run):
            await database.run(runs.run_save, run, LEASE_SECONDS)
            if asyncio.get_running_loop().time() >= ends or is_stopping():
                return run.entries - before
            await asyncio.sleep(REST_SECONDS)
        await database.run(runs.run_end, run)
        ended = True
        await database.run(runs.runs_purge, LIMITS.dead_letter_retention)
        if run.found:
            log.error("The reconciliation found %s and repaired %s", run.found, run.repaired)
    finally:
        if not ended:  # the next run, whosever it is, need not wait
            await database.run(runs.run_save, run, 0.0)
    return run.entries - before


def _outcome(run: runs.Run, *, complete: bool) -> Outcome:
    return Outcome(run.conversations, run.entries, run.found, run.repaired, run.examples, complete)


async def _step(run: runs.Run) -> bool:
    """Look at the next batch; whether there is more."""
    if run.position_seq == KEYS_PHASE:
        return await _step_keys(run)
    batch = await database.run(store.list_windows, run.position, run.position_seq, run.conversation_id)
    if batch.windows:
        for check in CHECKS:
            await _check(run, check, batch.windows)
        run.conversations += sum(window.first for window in batch.windows)
        run.entries += sum(window.high - window.low + 1 for window in batch.windows)
    if batch.position is not None and (run.conversation_id is None or batch.position_seq):
        run.position, run.position_seq = batch.position, batch.position_seq
        return True
    if run.conversation_id is not None:
        return False
    run.position, run.position_seq = None, KEYS_PHASE
    return True


async def _check(run: runs.Run, check: Check, windows: Sequence[store.Window]) -> None:
    findings = await database.run(store.list_findings, check, windows)
    _note(run, check, findings)
    if not (run.repairs and findings and (check.fix or check.name == "key_missing")):
        return
    for conversation_id in sorted({finding.conversation_id for finding in findings}):
        own = [window for window in windows if window.conversation_id == conversation_id]
        try:
            repaired = await database.run(store.findings_repair, check, own)
        except WhisprError as error:  # held by something; the next pass finds it again
            log.warning("Not repaired, %s of %s: %s", check.name, conversation_id, error.code)
            continue
        if repaired:
            await _forget_hints(conversation_id)
        _count(run, check, repaired)


async def _forget_hints(conversation_id: UUID) -> None:
    """What became of its messages may be another now than the cache has it."""
    try:
        await recent_note(_links.get(), [], [str(conversation_id)])
    except RedisAway:
        log.warning("The cache was not told that %s was repaired", conversation_id)


async def _step_keys(run: runs.Run) -> bool:
    findings, end = await database.run(store.list_orphan_keys, run.position)
    _note(run, KEY_ORPHAN, findings)
    if run.repairs:
        by_conversation: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for finding in findings:
            by_conversation[finding.conversation_id].append(UUID(finding.subject))
        for conversation_id, message_ids in sorted(by_conversation.items()):
            _count(run, KEY_ORPHAN, await database.run(store.orphan_keys_delete, conversation_id, message_ids))
    run.position = end
    return end is not None


def _note(run: runs.Run, check: Check, findings: Sequence[store.Finding]) -> None:
    if not findings:
        return
    run.found[check.name] = run.found.get(check.name, 0) + len(findings)
    telemetry.reconciled.labels(check.name, "found").inc(len(findings))
    for finding in findings[: runs.EXAMPLES_MAX - len(run.examples)]:
        run.examples.append(
            {"check": check.name, "conversation": str(finding.conversation_id), "subject": finding.subject}
        )


def _count(run: runs.Run, check: Check, repaired: int) -> None:
    if repaired:
        run.repaired[check.name] = run.repaired.get(check.name, 0) + repaired
        telemetry.reconciled.labels(check.name, "repaired").inc(repaired)
