"""The reconciliation of messages with what is told of them: what is only told, or due, or unwanted, is not missed."""

from datetime import UTC, datetime

import pytest
from asgiref.sync import async_to_sync

from delivery.models import PushOutbox, PushPreference, PushState
from delivery.services.push import pushes_send
from messaging.models import HiddenMessage
from tests.delivery.services.test_reconcile import World, _unsigned, lose_push, run  # noqa: F401 - a fixture
from whispr.kernel.limits import LIMITS

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("is_known", ["told", "due", "dead", "hidden", "in the outbox", "muted"])
def test_who_was_told_or_will_be_or_wants_nothing_is_not_missed(is_known: str):
    world = World()
    lose_push(world)
    state = PushState(user_id=world.bob, conversation_id=world.group, pushed_devices=[])
    if is_known == "told":
        state.pushed_seq = world.seq(world.last)
    elif is_known == "due":
        state.due_at = datetime.now(UTC)
    elif is_known == "dead":
        state.attempts = LIMITS.push_attempts
    if is_known in ("told", "due", "dead"):
        state.save()
    elif is_known == "hidden":
        HiddenMessage.objects.create(user_id=world.bob, message_id=world.last)
    elif is_known == "in the outbox":
        PushOutbox.objects.create(conversation_ids=[world.group], from_seqs=[world.seq(world.last)])
    else:
        PushPreference.objects.create(user_id=world.bob, enabled=False)
        assert run(repair=True).repaired == {"push_missing": 1}
        async_to_sync(pushes_send)()
    assert run(repair=True).found == {}
