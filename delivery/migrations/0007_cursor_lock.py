"""A device's first acknowledgement of a conversation asked for a lock of the conversation's row, at the commit: whoever
held the row made the receipts of everybody else in the batch wait, and fail (docs/reliability.md, F13)."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("delivery", "0006_erasures"), ("messaging", "0001_initial")]

    safe_because = {0: "It drops a constraint: no row is rewritten, and old code writes as it did."}

    operations = [
        migrations.AlterField(
            "devicecursor",
            "conversation",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="cursors",
                to="messaging.conversation",
            ),
        ),
    ]
