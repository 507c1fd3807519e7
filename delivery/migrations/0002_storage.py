"""Room for HOT updates: a status row is changed at most twice, a cursor all the time."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("delivery", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE delivery_statuses SET (fillfactor = 60); ALTER TABLE device_cursors SET (fillfactor = 50)",
            "ALTER TABLE delivery_statuses RESET (fillfactor); ALTER TABLE device_cursors RESET (fillfactor)",
        ),
    ]
