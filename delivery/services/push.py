"""Pushes to those who are away (specification §2.1, §9.3; docs/architecture.md "Pushes").

A send leaves a row in the outbox. After a grace, each recipient who did not acknowledge has a state, which stays until
they acknowledge or were told: so no crash loses a push. A state is claimed, its push's key is written down, and then
it is sent: so whoever does it again does it under the same key.
"""

import asyncio
import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from uuid import UUID

from delivery.events import Push, PushCandidate
from delivery.services.dead_letters import dead_letter_kind
from delivery.services.push_composition import clear_of, message_of
from delivery.services.push_hand_over import Result, pushes_hand_over
from delivery.store import push as store
from delivery.store import push_settle as settling
from delivery.store.push import DeviceToken, Telling
from delivery.store.push_preferences import list_push_preferences
from delivery.store.push_settle import Counted, DeadToken, Settlement
from integrations import user_service
from integrations.notifications import PUSHES_MAX
from messaging.fanout import trace
from messaging.presence.online import onlines
from whispr.kernel import database, telemetry
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import WhisprError
from whispr.kernel.failpoints import hit
from whispr.kernel.limits import LIMITS
from whispr.kernel.stopping import is_stopping

WORK_SECONDS = 30.0
# While the service may still be away, few find out.
PROBE_MAX = 10
# Who is online and does not acknowledge is looked at again after as long as it has lasted, within these bounds: a
# socket that closes arms it at once; a process that died leaves its users online for 45 s (presence/online.py).
ONLINE_MIN_SECONDS, ONLINE_MAX_SECONDS = 5.0, 15.0
# Nothing was taken: the breaker says when it is worth asking again.
AWAY_SECONDS = 2.0
# The outcome is not known: the service may still be at it.
UNKNOWN_SECONDS = 5.0
# A refusal doubles the wait from here on, to the bound.
REFUSED_SECONDS, REFUSED_MAX_SECONDS = 1.0, 300.0
PURGE_BATCH = 2_000


async def pushes_send() -> int:
    """Send what is due, for at most 30 seconds; how many states were looked at. Any number may run at once.

    While the service is away, what is due waits, so that one push says all in the end.
    """
    loop = asyncio.get_running_loop()
    ends = loop.time() + WORK_SECONDS
    while loop.time() < ends and not is_stopping():
        if not await database.run(store.outbox_take, LIMITS.push_grace_seconds, LIMITS.push_window_seconds):
            break
    done = 0
    circuit = breaker("notification_service")
    while loop.time() < ends and not is_stopping() and circuit.state != "open":
        limit = PUSHES_MAX if circuit.state == "closed" else PROBE_MAX
        claimed = await database.run(
            store.pushes_claim,
            limit,
            LIMITS.push_lease_seconds,
            LIMITS.push_grace_seconds,
            LIMITS.push_window_seconds,
        )
        if not claimed:
            break
        hit("push.after_claim")
        done += len(claimed)
        if not await _tell(claimed):
            break
    return done


async def _tell(claimed: Sequence[Telling]) -> bool:
    """Decide, send, settle. False where the service is away."""
    settled, messages, clears = await _decide(claimed)
    if settled:
        await database.run(settling.pushes_settle, settled, LIMITS.push_window_seconds)
    if messages:
        claims = [(one.id, one.claimed_until, one.up_to or 0) for one in messages]
        ours = await database.run(settling.pushes_key, claims)
        messages = [one for one in messages if one.id in ours]
    pairs = await _pushes_of(messages, clears)
    if not pairs:
        return True
    hit("push.before_send")
    results = await pushes_hand_over([push for _, push in pairs])
    hit("push.after_send")
    await _settle(pairs, results)
    return all(result.state in ("accepted", "refused") for result in results)


async def _decide(claimed: Sequence[Telling]) -> tuple[list[Settlement], list[Telling], list[Telling]]:
    """What is settled without a push, whom to tell that messages wait, and whom to clear."""
    settled: list[Settlement] = []
    clears: list[Telling] = []
    new = [one for one in claimed if one.is_new]
    for one in claimed:
        if one.is_new:
            continue
        if one.is_read:
            clears.append(one)
        elif one.delay is not None:
            settled.append(_put_off(one, one.delay, keeps_key=one.key_seq is not None))
        else:
            shown = None if one.is_member else False
            settled.append(Settlement(id=one.id, claimed_until=one.claimed_until, shown=shown))
            telemetry.pushes.labels("message", "not_needed").inc()
    online = await onlines.get().among(list({one.user_id for one in new}))
    away = [one for one in new if one.user_id not in online]
    wanted = await _wanted(away)
    for one in new:
        if one.user_id in online:
            delay = min(max(_age(one), ONLINE_MIN_SECONDS), ONLINE_MAX_SECONDS)
            settled.append(_put_off(one, delay, keeps_key=one.key_seq is not None))
        elif (one.user_id, one.conversation_id) not in wanted:
            told = Settlement(id=one.id, claimed_until=one.claimed_until, pushed_seq=one.up_to)
            settled.append(told)
            telemetry.pushes.labels("message", "muted").inc()
    return settled, [one for one in away if (one.user_id, one.conversation_id) in wanted], clears


async def _wanted(away: Sequence[Telling]) -> set[tuple[UUID, UUID]]:
    """Who wants to be told. While the user service is away, the preferences known here are in force."""
    if not away:
        return set()
    candidates = [PushCandidate(one.user_id, one.conversation_id) for one in away]
    try:
        answers = await user_service().get_offline_recipients(candidates)
    except WhisprError:
        answers = await database.run(list_push_preferences, candidates)
    asked = {(one.user_id, one.conversation_id) for one in candidates}
    return asked & {(one.user_id, one.conversation_id) for one in answers if one.wanted}


async def _pushes_of(messages: Sequence[Telling], clears: Sequence[Telling]) -> list[tuple[Telling, Push]]:
    """The pushes; a clear for which no device is left is settled here."""
    if not messages and not clears:
        return []
    users = sorted({one.user_id for one in [*messages, *clears]})
    badges = await database.run(store.get_badges, users)
    devices: defaultdict[UUID, list[DeviceToken]] = defaultdict(list)
    for device in await database.run(store.list_push_devices, users):
        devices[device.user_id].append(device)
    pairs = [(one, message_of(one, badges.get(one.user_id, 0), devices[one.user_id])) for one in messages]
    nobody: list[Settlement] = []
    for one in clears:
        others = [
            device
            for device in devices[one.user_id]
            if device.device_id in one.pushed_devices and device.device_id != one.read_device_id
        ]
        if one.pushed_devices and not others:
            nobody.append(
                Settlement(id=one.id, claimed_until=one.claimed_until, delay=one.delay, shown=False, devices=())
            )
        else:
            pairs.append((one, clear_of(one, badges.get(one.user_id, 0), others)))
    if nobody:
        await database.run(settling.pushes_settle, nobody, LIMITS.push_window_seconds)
    return pairs


async def _settle(pairs: Sequence[tuple[Telling, Push]], results: Sequence[Result]) -> None:
    settlements: list[Settlement] = []
    counted: Counter[tuple[str, str, str]] = Counter()
    dead: list[DeadToken] = []
    for (one, push), result in zip(pairs, results, strict=True):
        settlements.append(_settlement(one, push, result))
        telemetry.pushes.labels(push.kind, result.state).inc()
        counted[(push.kind, "", result.state)] += 1
        invalid = set(result.outcome.invalid_devices) if result.outcome is not None else set()
        for device in push.devices:
            state = "invalid_token" if device.device_id in invalid else result.state
            counted[(push.kind, device.platform, state)] += 1
            if device.device_id in invalid:
                dead.append(DeadToken(device.device_id, hashlib.sha256(device.token.encode()).digest()))
        if result.state == "accepted" and push.kind == "message":
            telemetry.push_seconds.observe(_age(one))
            for message_id in push.message_ids:
                trace.record(message_id, "notified")
    telemetry.push_invalid_tokens.inc(len(dead))
    rows = [Counted(*key, count) for key, count in counted.items()]
    await database.run(settling.pushes_settle, settlements, LIMITS.push_window_seconds, rows, dead)


def _settlement(one: Telling, push: Push, result: Result) -> Settlement:
    """The end of the claim under which `push` was sent."""
    if result.state == "unavailable":
        return _put_off(one, AWAY_SECONDS, keeps_key=one.key_seq is not None)
    if result.state == "unknown":
        return _put_off(one, UNKNOWN_SECONDS, keeps_key=True, shown=True, devices=_ids(push, ()))
    invalid = result.outcome.invalid_devices if result.outcome is not None else ()
    left = _ids(push, invalid)
    nobody = bool(push.devices) and not left  # every token is dead: there is nobody to tell
    if result.state == "accepted" or nobody:
        shown = push.kind == "message" and not nobody
        return Settlement(
            id=one.id,
            claimed_until=one.claimed_until,
            delay=None if push.kind == "message" else one.delay,
            pushed_seq=one.up_to if push.kind == "message" else None,
            pushed=push.kind == "message",
            shown=shown,
            devices=left if shown else (),
        )
    attempts = one.attempts + 1
    given_up = attempts >= LIMITS.push_attempts
    wait = min(REFUSED_SECONDS * 2.0**attempts, REFUSED_MAX_SECONDS) * random.uniform(0.8, 1.2)
    return Settlement(
        id=one.id,
        claimed_until=one.claimed_until,
        delay=None if given_up else wait,
        keeps_key=True,
        attempts=attempts,
        reason=result.reason[:64],
        dead=given_up,
    )


def _put_off(
    one: Telling,
    delay: float,
    *,
    keeps_key: bool = False,
    shown: bool | None = None,
    devices: tuple[UUID, ...] | None = None,
) -> Settlement:
    return Settlement(
        id=one.id,
        claimed_until=one.claimed_until,
        delay=delay,
        keeps_key=keeps_key,
        attempts=one.attempts,
        shown=shown,
        devices=devices,
    )


def _ids(push: Push, invalid: Sequence[UUID]) -> tuple[UUID, ...]:
    return tuple(device.device_id for device in push.devices if device.device_id not in invalid)


def _age(one: Telling) -> float:
    """Seconds since the first message that waits, by the database's clock."""
    if one.armed_at is None:
        return 0.0
    return max((one.claimed_until - one.armed_at).total_seconds() - LIMITS.push_lease_seconds, 0.0)


async def pushes_purge() -> int:
    """Delete the states that say nothing any more, and old statistics; how many states."""
    purged = 0
    while not is_stopping():
        deleted = await database.run(settling.pushes_purge, PURGE_BATCH)
        purged += deleted
        if deleted < PURGE_BATCH:
            break
    return purged


async def _requeue(keys: Sequence[str]) -> list[str]:
    there = await database.run(settling.pushes_requeue, [int(key) for key in keys])
    return [key for key in keys if int(key) in there]


dead_letter_kind(settling.KIND, requeue=_requeue)


async def _nothing_to_requeue(_: Sequence[str]) -> list[str]:
    """Whom such a row named is told already, and the row is gone."""
    return []


dead_letter_kind(store.OUTBOX, requeue=_nothing_to_requeue)
