"""Dead letters and reconciliation."""

import django.db.models.functions.datetime
from django.db import migrations, models

# name: (task, every, unit, seconds after which a run that nobody took is dropped: the next one does its work)
SCHEDULES = {
    "delivery-reconcile": ("delivery.tasks.reconcile", 1, "minutes", 50),
    "delivery-purge-dead-letters": ("delivery.tasks.purge_dead_letters", 1, "hours", 1800),
}


def schedules_create(apps, schema_editor):
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    periodic = apps.get_model("django_celery_beat", "PeriodicTask")
    for name, (task, every, period, expires) in SCHEDULES.items():
        schedule = interval.objects.filter(every=every, period=period).first()
        if schedule is None:
            schedule = interval.objects.create(every=every, period=period)
        periodic.objects.get_or_create(
            name=name, defaults={"task": task, "interval": schedule, "expire_seconds": expires}
        )


def schedules_delete(apps, schema_editor):
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(name__in=SCHEDULES).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("delivery", "0004_push"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeadLetter",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=32)),
                ("key", models.CharField(max_length=128)),
                ("code", models.CharField(max_length=64)),
                ("detail", models.CharField(blank=True, db_default="", default="", max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("requeued", "Requeued"),
                            ("discarded", "Discarded"),
                            ("gone", "Gone"),
                        ],
                        db_default="waiting",
                        default="waiting",
                        max_length=9,
                    ),
                ),
                ("failures", models.IntegerField(db_default=1, default=1)),
                ("first_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("last_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("settled_by", models.CharField(blank=True, db_default="", default="", max_length=150)),
            ],
            options={
                "db_table": "dead_letters",
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "waiting")), fields=["kind", "id"], name="dead_letters_waiting"
                    ),
                    models.Index(
                        condition=models.Q(("settled_at__isnull", False)),
                        fields=["settled_at"],
                        name="dead_letters_settled",
                    ),
                ],
                "constraints": [models.UniqueConstraint(fields=("kind", "key"), name="dead_letters_once")],
            },
        ),
        migrations.CreateModel(
            name="ReconcileRun",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("started_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("is_scheduled", models.BooleanField(db_default=False, default=False)),
                ("repairs", models.BooleanField(db_default=False, default=False)),
                ("conversation_id", models.UUIDField(blank=True, null=True)),
                ("position", models.UUIDField(blank=True, null=True)),
                ("position_seq", models.BigIntegerField(db_default=0, default=0)),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
                ("conversations", models.BigIntegerField(db_default=0, default=0)),
                ("entries", models.BigIntegerField(db_default=0, default=0)),
                ("found", models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict)),
                (
                    "repaired",
                    models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
                ),
                (
                    "examples",
                    models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
                ),
            ],
            options={
                "db_table": "reconcile_runs",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True), ("is_scheduled", True)),
                        fields=("is_scheduled",),
                        name="reconcile_runs_one_scheduled",
                    )
                ],
            },
        ),
        migrations.RunPython(schedules_create, schedules_delete),
    ]
