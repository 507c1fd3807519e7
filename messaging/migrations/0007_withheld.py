"""What a block withholds, and the life of media: when they were asked for, first sent, taken away."""

from django.db import migrations, models
from django.db.models.functions import Now

# name: (task, every, unit, seconds after which a run that nobody took is dropped: the next one does its work)
SCHEDULES = {
    "messaging-settle-media-links": ("messaging.tasks.settle_media_links", 5, "seconds", 20),
    "messaging-sweep-media": ("messaging.tasks.sweep_media", 1, "hours", 1800),
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
        ("messaging", "0006_beat_schedules"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.AddField("message", "withheld", models.BooleanField(default=False, db_default=False)),
        migrations.AddField("block", "delivered_seq", models.BigIntegerField(default=0, db_default=0)),
        migrations.AddField("block", "blocked_delivered_seq", models.BigIntegerField(default=0, db_default=0)),
        migrations.AddField("media", "checked_at", models.DateTimeField(db_default=Now())),
        migrations.AddField("media", "linked_at", models.DateTimeField(blank=True, null=True)),
        migrations.RemoveIndex("media", "media_created"),
        migrations.AddIndex("media", models.Index(fields=["owner_id"], name="media_of_owner")),
        migrations.AddIndex(
            "media",
            models.Index(
                fields=["created_at"], name="media_never_sent", condition=models.Q(("linked_at__isnull", True))
            ),
        ),
        migrations.AddField("medialink", "removed_at", models.DateTimeField(blank=True, null=True)),
        migrations.RemoveIndex("medialink", "media_links_pending"),
        migrations.AddIndex(
            "medialink",
            models.Index(
                fields=["next_try_at"],
                name="media_links_due",
                condition=models.Q(("linked_at__isnull", True), ("removed_at__isnull", False), _connector="OR"),
            ),
        ),
        migrations.RunPython(schedules_create, schedules_delete),
    ]
