"""The manual switches of the circuits: a row each, so that staff find them."""

import django.db.models.functions.datetime
from django.db import migrations, models

NAMES = ("database", "redis", "user_service", "media_service", "notification_service")


def add_rows(apps, schema_editor):
    switch = apps.get_model("integrations", "CircuitSwitch")
    switch.objects.bulk_create([switch(name=name) for name in NAMES], ignore_conflicts=True)


class Migration(migrations.Migration):
    initial = True
    dependencies = []

    operations = [
        migrations.CreateModel(
            name="CircuitSwitch",
            fields=[
                ("name", models.CharField(max_length=32, primary_key=True, serialize=False)),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("auto", "by itself"),
                            ("open", "held open: nobody calls it"),
                            ("closed", "held closed: everybody calls it, whatever happens"),
                        ],
                        db_default="auto",
                        default="auto",
                        max_length=6,
                    ),
                ),
                ("by", models.CharField(blank=True, db_default="", default="", max_length=150)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("reason", models.CharField(blank=True, db_default="", default="", max_length=200)),
            ],
            options={
                "verbose_name": "circuit",
                "db_table": "circuit_switches",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("mode__in", ["auto", "open", "closed"])), name="circuit_switches_mode"
                    )
                ],
            },
        ),
        migrations.RunPython(add_rows, migrations.RunPython.noop),
    ]
