"""What the expiry worker and the receipts look for: messages that still are to expire, and those that run from reading."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("messaging", "0007_withheld")]

    operations = [
        migrations.RemoveIndex("message", "messages_expiring"),
        migrations.AddIndex(
            "message",
            models.Index(
                fields=["expires_at"],
                name="messages_expiring",
                condition=Q(expires_at__isnull=False, is_deleted=False),
            ),
        ),
        migrations.AddIndex(
            "message",
            models.Index(
                fields=["conversation", "seq"],
                name="messages_from_reading",
                condition=Q(ttl_after_read__isnull=False),
            ),
        ),
    ]
