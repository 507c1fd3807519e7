"""Dead letters: what failed too often to be tried again by itself, for staff to requeue or to discard.

The services that work through rows add a letter and leave the row alone from then on, so that a poisoned row costs the
others nothing. Each kind says in `dead_letter_kind` how its rows come back.
"""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from delivery.store import dead_letters as store
from whispr.kernel import database
from whispr.kernel.errors import BadRequest, WhisprError
from whispr.kernel.limits import LIMITS

log = logging.getLogger(__name__)

# Given the keys of rows, does something with those that are still there, and says which these were.
Act = Callable[[Sequence[str]], Awaitable[Collection[str]]]
PURGE_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class _Kind:
    requeue: Act
    discard: Act | None


_kinds: dict[str, _Kind] = {}


def dead_letter_kind(kind: str, *, requeue: Act, discard: Act | None = None) -> None:
    """Make a kind known, when its module is loaded.

    `requeue` gives rows their tries back, and answers the keys of those that were still there; it may run twice.
    `discard`, where there is one, gives rows up in the same way.
    """
    _kinds[kind] = _Kind(requeue, discard)


def failure_of(error: BaseException) -> tuple[str, str]:
    """`code` and `detail` of a failure: never its text, which may hold what a client wrote."""
    if isinstance(error, WhisprError):
        return error.code, ""
    return "internal_error", type(error).__name__


async def dead_letter_add(kind: str, key: str, code: str, detail: str = "") -> None:
    """Note that the row `key` of `kind` failed too often and is not tried any more. Raises what the database raises.

    A store function that gives a row up in a transaction calls `delivery.store.dead_letters.dead_letter_write` in it.
    """
    await database.run(store.dead_letter_write, kind, key, code, detail)
    log.error("Dead letter: %s %s, %s %s", kind, key, code, detail)


async def dead_letters_requeue(ids: Sequence[int], by: str = "") -> int:
    """Let what these letters name be tried again; how many came back.

    A letter whose row is gone is settled as `gone`. Raises BadRequest for a kind that this process does not know.
    """
    done = 0
    for kind, letters in (await _by_kind(ids)).items():
        there = set(await _kind(kind).requeue([letter.key for letter in letters]))
        done += await _settle([letter.id for letter in letters if letter.key in there], "requeued", by)
        await _settle([letter.id for letter in letters if letter.key not in there], "gone", by)
    return done


async def dead_letters_discard(ids: Sequence[int], by: str = "") -> int:
    """Give up what these letters name; how many. Raises BadRequest for a kind that this process does not know."""
    done = 0
    for kind, letters in (await _by_kind(ids)).items():
        discard = _kind(kind).discard
        if discard is not None:
            await discard([letter.key for letter in letters])
        done += await _settle([letter.id for letter in letters], "discarded", by)
    return done


async def dead_letters_purge() -> int:
    """Delete the letters that were settled longer ago than `LIMITS.dead_letter_retention`; how many."""
    purged = 0
    while True:
        deleted = await database.run(store.dead_letters_purge, LIMITS.dead_letter_retention, PURGE_BATCH)
        purged += deleted
        if deleted < PURGE_BATCH:
            return purged


async def _by_kind(ids: Sequence[int]) -> dict[str, list[store.DeadLetter]]:
    found: defaultdict[str, list[store.DeadLetter]] = defaultdict(list)
    for letter in await database.run(store.list_waiting, ids):
        found[letter.kind].append(letter)
    return dict(found)


def _kind(kind: str) -> _Kind:
    if kind not in _kinds:
        raise BadRequest(f"Nothing here knows how to handle {kind}.")
    return _kinds[kind]


async def _settle(ids: Sequence[int], state: store.Settled, by: str) -> int:
    return await database.run(store.dead_letters_settle, ids, state, by) if ids else 0
