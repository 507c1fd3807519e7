"""The built-in media store, and the outbox that tells a media service of links (specification §9.2)."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from whispr.kernel.ids import new_id


class Media(models.Model):
    """An encrypted blob of the built-in media store (standalone mode); removed when no message links to it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner_id = models.UUIDField()
    size = models.BigIntegerField()
    sha256 = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())
    # When a send last asked for it, and when a message first carried it: until then it may wait for its message.
    checked_at = models.DateTimeField(db_default=Now())
    linked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "media"
        verbose_name_plural = "media"
        indexes = [
            models.Index(fields=["owner_id"], name="media_of_owner"),
            models.Index(fields=["created_at"], name="media_never_sent", condition=Q(linked_at__isnull=True)),
        ]


class MediaLink(models.Model):
    """A message that carries a medium, made known to the media service through this outbox row: pending until it said
    yes."""

    id = models.BigAutoField(primary_key=True)
    media_id = models.CharField(max_length=128)
    message_id = models.UUIDField(unique=True)
    conversation_id = models.UUIDField()
    linked_at = models.DateTimeField(null=True, blank=True)
    # The message's content was taken away: the row goes when the media service knows that too.
    removed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.IntegerField(default=0, db_default=0)
    next_try_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "media_links"
        indexes = [
            models.Index(fields=["media_id"], name="media_links_of_media"),
            models.Index(
                fields=["next_try_at"],
                name="media_links_due",
                condition=Q(linked_at__isnull=True) | Q(removed_at__isnull=False),
            ),
        ]
