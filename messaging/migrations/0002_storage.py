"""Room for HOT updates: the rows that every send or acknowledgement changes stay on their page, and no index is touched."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("messaging", "0001_initial")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE conversations SET (fillfactor = 50); ALTER TABLE members SET (fillfactor = 50)",
            "ALTER TABLE conversations RESET (fillfactor); ALTER TABLE members RESET (fillfactor)",
        ),
    ]
