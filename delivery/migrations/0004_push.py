"""Pushes: the outbox, what each user was told of each conversation, preferences, statistics and the built-in log."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models
from django.db.models.functions import Now

# name: (task, every, unit, seconds after which a run that nobody took is dropped: the next one does its work)
SCHEDULES = {
    "delivery-send-pushes": ("delivery.tasks.send_pushes", 2, "seconds", 10),
    "delivery-purge-pushes": ("delivery.tasks.purge_pushes", 1, "hours", 1800),
}

# A row of the outbox lives for seconds: its pages are to be used again before there are many. A state changes at each
# push, its due time with it.
STORAGE = """
ALTER TABLE push_outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 1);
ALTER TABLE push_states SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)"""
RESET = """
ALTER TABLE push_outbox RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
    autovacuum_vacuum_insert_threshold, autovacuum_analyze_scale_factor);
ALTER TABLE push_states RESET (fillfactor, autovacuum_vacuum_scale_factor)"""


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
        ("delivery", "0003_kinds"),
        ("messaging", "0008_expiry_indexes"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    safe_because = {5: "Storage parameters of this migration's own new tables."}

    operations = [
        migrations.CreateModel(
            name="PushOutbox",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=Now())),
                ("conversation_ids", ArrayField(base_field=models.UUIDField(), size=None)),
                ("from_seqs", ArrayField(base_field=models.BigIntegerField(), size=None)),
            ],
            options={"db_table": "push_outbox", "verbose_name_plural": "push outbox"},
        ),
        migrations.CreateModel(
            name="PushState",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("user_id", models.UUIDField()),
                ("conversation_id", models.UUIDField()),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("armed_at", models.DateTimeField(blank=True, null=True)),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
                ("key_seq", models.BigIntegerField(blank=True, null=True)),
                ("pushed_seq", models.BigIntegerField(db_default=0, default=0)),
                ("pushed_at", models.DateTimeField(blank=True, null=True)),
                ("pushed_devices", ArrayField(base_field=models.UUIDField(), default=list, size=None)),
                ("is_shown", models.BooleanField(db_default=False, default=False)),
                ("read_device_id", models.UUIDField(blank=True, null=True)),
                ("attempts", models.IntegerField(db_default=0, default=0)),
                ("reason", models.CharField(blank=True, db_default="", default="", max_length=64)),
            ],
            options={
                "db_table": "push_states",
                "indexes": [
                    models.Index(
                        fields=["due_at"], name="push_states_due", condition=models.Q(("due_at__isnull", False))
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("user_id", "conversation_id"), name="push_states_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="PushStatistic",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("hour", models.DateTimeField()),
                ("kind", models.CharField(max_length=8)),
                ("platform", models.CharField(max_length=32)),
                ("outcome", models.CharField(max_length=16)),
                ("count", models.BigIntegerField()),
            ],
            options={
                "db_table": "push_statistics",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hour", "kind", "platform", "outcome"), name="push_statistics_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PushLog",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=64)),
                ("kind", models.CharField(max_length=8)),
                ("user_id", models.UUIDField()),
                ("conversation_id", models.UUIDField()),
                ("count", models.IntegerField()),
                ("badge", models.IntegerField()),
                ("platforms", models.CharField(blank=True, max_length=200)),
                ("devices", models.IntegerField()),
                ("at", models.DateTimeField(db_default=Now())),
            ],
            options={
                "db_table": "push_log",
                "verbose_name_plural": "push log",
                "constraints": [models.UniqueConstraint(fields=("key",), name="push_log_once")],
            },
        ),
        migrations.CreateModel(
            name="PushPreference",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("user_id", models.UUIDField()),
                ("conversation_id", models.UUIDField(blank=True, null=True)),
                ("enabled", models.BooleanField(db_default=True, default=True)),
                ("muted_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "push_preferences",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user_id", "conversation_id"), name="push_preferences_once", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.RunSQL(STORAGE, RESET),
        migrations.RunPython(schedules_create, schedules_delete),
    ]
