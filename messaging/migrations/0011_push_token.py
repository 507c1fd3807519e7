"""Who has a push token is looked for when somebody registers it: the last registration has it."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("messaging", "0010_degraded")]

    operations = [
        AddIndexConcurrently(
            "device",
            models.Index(fields=["push_token"], name="devices_of_push_token", condition=~Q(push_token="")),
        ),
    ]
