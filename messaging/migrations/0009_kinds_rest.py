"""What the kinds of messages still needed: when a device's keys changed, and settings that a block withholds."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0008_expiry_indexes"), ("delivery", "0003_kinds")]

    operations = [
        migrations.AddField("device", "keys_changed_at", models.DateTimeField(blank=True, null=True)),
        migrations.AddField("member", "withheld_settings", models.JSONField(blank=True, null=True)),
    ]
