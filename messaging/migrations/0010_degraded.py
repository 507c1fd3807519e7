"""The schedule of the recovery queue: sends that waited in Redis for the database."""

from django.db import migrations

# name: (task, every, unit, seconds after which a run that nobody took is dropped: the next one does its work)
SCHEDULES = {"messaging-recover-pending": ("messaging.tasks.recover_pending", 5, "seconds", 10)}


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
        ("messaging", "0009_kinds_rest"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(schedules_create, schedules_delete)]
