"""Membership and receipts: since which version, what history was shared, what was read without being told.

`members.untold` has no Django field (Django knows no multiranges): raw SQL in the stores alone reads and writes it.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("messaging", "0003_kinds")]

    operations = [
        migrations.AddField("member", "changed_version", models.BigIntegerField(default=0, db_default=0)),
        migrations.AddField("memberspan", "shared", models.BooleanField(default=False, db_default=False)),
        migrations.AddField("device", "expired_at", models.DateTimeField(null=True, blank=True)),
        migrations.RunSQL(
            "ALTER TABLE members ADD COLUMN untold int8multirange NOT NULL DEFAULT '{}'",
            "ALTER TABLE members DROP COLUMN untold",
        ),
    ]
