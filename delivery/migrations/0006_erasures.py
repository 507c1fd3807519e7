"""On which devices a message was when it was erased: one row a message. Nothing was ever written to the table before."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("delivery", "0005_reliability"), ("messaging", "0009_kinds_rest")]

    safe_because = {0: "No code ever wrote or read this table, but for a page of the admin that was always empty."}

    operations = [
        migrations.DeleteModel("MessageErasure"),
        migrations.CreateModel(
            name="MessageErasure",
            fields=[
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="erasure",
                        serialize=False,
                        to="messaging.message",
                    ),
                ),
                ("device_ids", django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField())),
            ],
            options={"db_table": "message_erasures"},
        ),
    ]
