from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("messaging", "0004_membership_privacy")]

    operations = [
        migrations.AddField(
            model_name="scheduledmessage",
            name="encrypted_at",
            field=models.DateTimeField(db_default=Now()),
        ),
        migrations.AddField(
            model_name="scheduledmessage",
            name="fingerprint",
            field=models.BinaryField(db_default=b"", default=b""),
        ),
    ]
