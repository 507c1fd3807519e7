"""May this user send here? The user service is asked before a send, where one is set (specification §9.1).

Its answers are kept for seconds, by this process, and asked for anew after a change that this process hears of.
Whatever it says, the log decides as well, under the conversation's lock: who is a member here, and which block stands
in the table `blocks`, which follows the service's answers. So while the service is away, both are as last known
(docs/protocol.md "Services around it").
"""

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple, NoReturn
from uuid import UUID

import msgspec
from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver

from integrations import user_service
from integrations.local.deadline import within
from messaging.events import SendPermission
from messaging.fanout import publish_user_event
from messaging.fanout.hub import hub
from messaging.fanout.news import EncodedEntry, News, UserChange
from messaging.store import permissions as store
from messaging.store.log import NewEntry
from whispr.kernel import database, telemetry
from whispr.kernel.breaker import breaker
from whispr.kernel.errors import Forbidden, NotFound, TemporaryUnavailable, WhisprError
from whispr.kernel.limits import LIMITS
from whispr.kernel.loops import PerLoop

log = logging.getLogger(__name__)

# What is left of a request's time is the append's. Beyond, the database is as good as away for this question.
FACTS_SECONDS = 0.5
# Answers that were asked for together are not asked for together again.
SPREAD = (0.7, 1.0)

Refusal = Literal["not_a_member", "not_allowed"]
Key = tuple[UUID, UUID]  # conversation, sender


class Kept(NamedTuple):
    """What the service said, and until when that holds, by `time.monotonic()`."""

    refusal: Refusal | None
    until: float


class PermissionCache:
    """The answers of one process: bounded, the least recently made go first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Key, Kept] = OrderedDict()
        self._senders: dict[UUID, set[UUID]] = {}  # by conversation, and
        self._conversations: dict[UUID, set[UUID]] = {}  # by sender: for what is dropped
        self.changes = 0  # an answer that was asked for before the last change is not kept

    def get(self, key: Key) -> Kept | None:
        """The answer that is still good."""
        kept = self._kept.get(key)
        return kept if kept is not None and time.monotonic() < kept.until else None

    def put(self, key: Key, kept: Kept) -> None:
        """Keep an answer."""
        self._kept[key] = kept
        self._kept.move_to_end(key)
        self._senders.setdefault(key[0], set()).add(key[1])
        self._conversations.setdefault(key[1], set()).add(key[0])
        while len(self._kept) > self._size:
            self._drop(next(iter(self._kept)))

    def drop_conversation(self, conversation_id: UUID) -> None:
        """Forget what was said of all senders of a conversation."""
        self.changes += 1
        for sender_id in tuple(self._senders.get(conversation_id, ())):
            self._drop((conversation_id, sender_id))

    def drop_sender(self, sender_id: UUID) -> None:
        """Forget what was said of a sender in all conversations."""
        self.changes += 1
        for conversation_id in tuple(self._conversations.get(sender_id, ())):
            self._drop((conversation_id, sender_id))

    def clear(self) -> None:
        """Forget everything."""
        self.changes += 1
        for key in tuple(self._kept):
            self._drop(key)

    def _drop(self, key: Key) -> None:
        if self._kept.pop(key, None) is None:
            return
        for index, whose, what in ((self._senders, key[0], key[1]), (self._conversations, key[1], key[0])):
            index[whose].discard(what)
            if not index[whose]:
                del index[whose]

    def __len__(self) -> int:
        return len(self._kept)


kept_permissions = PermissionCache(LIMITS.permissions_max)


def is_permitted(entry: NewEntry) -> bool:
    """Whether the entry needs no asking: no user service is set, or it granted this lately."""
    if not _asks():
        return True
    kept = kept_permissions.get((entry.conversation_id, entry.sender_id))
    return kept is not None and kept.refusal is None


async def access_permission(entry: NewEntry) -> NewEntry:
    """The entry with what the user service says of its sender.

    Where the service refuses, the entry carries that to the log, which answers it with `not_found` or `forbidden`,
    unless it is the resend of a message that was sent before (docs/protocol.md §8.2). While the service is away, the
    members and blocks that are known here decide; raises TemporaryUnavailable where the conversation is not known here
    as one of the sender's.
    """
    if is_permitted(entry):
        return entry
    kept = kept_permissions.get((entry.conversation_id, entry.sender_id))
    refusal = kept.refusal if kept is not None else await _questions.get().ask(entry)
    if refusal is not None and breaker("database").state == "open":
        _refuse(refusal)  # the log is not asked now, and what waits for it was accepted
    return entry if refusal is None else msgspec.structs.replace(entry, refusal=refusal)


def _refuse(refusal: Refusal) -> NoReturn:
    raise NotFound() if refusal == "not_a_member" else Forbidden("The user service does not allow it.")


class _Questions:
    """The questions of one event loop that are on their way: two sends of one kind wait for one answer."""

    def __init__(self) -> None:
        self._asked: dict[Key, asyncio.Task[Refusal | None]] = {}

    async def ask(self, entry: NewEntry) -> Refusal | None:
        key = (entry.conversation_id, entry.sender_id)
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.get_running_loop().create_task(_ask(*key))
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)  # whoever asked first may be gone before the others

    def _done(self, key: Key, task: "asyncio.Task[Refusal | None]") -> None:
        if self._asked.get(key) is task:
            del self._asked[key]
        if not task.cancelled():
            task.exception()


_questions: PerLoop[_Questions] = PerLoop(_Questions)


async def _ask(conversation_id: UUID, sender_id: UUID) -> Refusal | None:
    changes = kept_permissions.changes
    facts: store.SendFacts | None = None
    try:
        facts = await within(FACTS_SECONDS, database.run(store.get_send_facts, conversation_id, sender_id))
        is_known = True
    except WhisprError:  # the database is slow or away: what is sent now waits for it, and for what it says then
        is_known = False
    participants: Sequence[UUID] = () if facts is None else facts.member_ids
    try:
        said = await user_service().validate_message_permissions(sender_id, conversation_id, participants)
    except TemporaryUnavailable as error:
        if is_known and facts is None:
            raise TemporaryUnavailable(
                "Whether this conversation is yours cannot be told right now.", retry_after=error.retry_after
            ) from None
        telemetry.permissions_asked.labels("local").inc()
        seconds, refusal = LIMITS.permission_refused_seconds, None
    else:
        telemetry.permissions_asked.labels(said.verdict).inc()
        refusal = None if said.verdict == "granted" else said.verdict
        if not is_known and refusal == "not_a_member":
            refusal = None  # it was told of no members, so it cannot know better than the log
        seconds = LIMITS.permission_seconds if refusal is None else LIMITS.permission_refused_seconds
        if not is_known and refusal is not None:
            _refuse(refusal)
        if facts is not None and refusal is None and await _follow_block(sender_id, facts, said):
            changes = kept_permissions.changes  # the change is this one
    if is_known and changes == kept_permissions.changes:
        kept_permissions.put(
            (conversation_id, sender_id), Kept(refusal, time.monotonic() + seconds * random.uniform(*SPREAD))
        )
    return refusal


async def _follow_block(sender_id: UUID, facts: store.SendFacts, said: SendPermission) -> bool:
    """In a direct conversation, have the block here that the service's answer tells of; whether that is a change.

    Only members that are known here count among the recipients, whomever else the service names.
    """
    if facts.peer_id is None or facts.peer_id not in facts.member_ids:
        return False
    is_blocked = facts.peer_id not in said.recipient_ids
    if is_blocked == facts.is_blocked:
        return False
    await database.run(store.block_follow, facts.peer_id, sender_id, is_blocked)
    for user_id in (facts.peer_id, sender_id):
        publish_user_event(user_id, "blocks", {})
    return True


def permissions_changed(user_ids: Sequence[UUID]) -> None:
    """The user service says that its answers about these senders may be others now: every process forgets them."""
    for user_id in user_ids:
        publish_user_event(user_id, "permissions", {})


def _hear(news: News) -> None:
    """Forget what a change may have made untrue: members come and go by system entries, blocks by an event."""
    if isinstance(news, EncodedEntry):
        kept_permissions.drop_conversation(news.conversation_id)
    elif isinstance(news, UserChange) and news.kind in ("blocks", "permissions"):
        kept_permissions.drop_sender(news.user_id)


hub.watchers.append(_hear)


@cache
def _asks() -> bool:
    """Whether a user service is set, read once: Django's settings object costs 4 % of a send at each look."""
    return bool(settings.WHISPR_USER_SERVICE)


@receiver(setting_changed)
def _forget(**_: object) -> None:
    _asks.cache_clear()
    kept_permissions.clear()
