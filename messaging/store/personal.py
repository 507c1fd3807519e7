"""What is a user's own, on all the user's devices: for `sync` (docs/protocol.md §7)."""

from typing import Any
from uuid import UUID

from messaging.store.deletions import list_hidden
from messaging.store.devices import get_user_settings
from messaging.store.drafts import list_drafts
from messaging.store.scheduled import list_scheduled
from whispr.kernel.limits import LIMITS

# Drafts of a full page are 13 MiB: beyond this, they are fetched by themselves.
DRAFTS_BYTES = 1024 * 1024


def get_personal(user_id: UUID) -> dict[str, Any]:
    """`drafts` (the latest changed, up to 1 MiB; `moreDrafts` where there are others), `scheduled` without contents,
    `settings`, and `hidden`, the ids of what the user deleted for themselves, the last `LIMITS.hidden_shown`.

    The first two are whole lists: what a device holds that is not in them is gone. What is hidden stays so.
    """
    drafts, more_drafts = list_drafts(user_id, DRAFTS_BYTES)
    # Failed ones are put away one by one, so there may be more of them than of those that wait.
    scheduled, _ = list_scheduled(user_id, LIMITS.page_max)
    return {
        "drafts": drafts,
        "moreDrafts": more_drafts,
        "scheduled": [view.summary() for view in scheduled],
        "settings": get_user_settings(user_id),
        "hidden": [row[1] for row in list_hidden(user_id, None, LIMITS.hidden_shown)],
    }
