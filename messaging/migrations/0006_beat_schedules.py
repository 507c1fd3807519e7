"""The schedules of Celery beat, as rows that staff edit in the admin. What is there already is left as it is."""

from django.db import migrations

# name: (task, every, unit, seconds after which a run that nobody took is dropped: the next one does its work)
SCHEDULES = {
    "messaging-expire-messages": ("messaging.tasks.expire_messages", 10, "seconds", 30),
    "messaging-send-due-scheduled": ("messaging.tasks.send_due_scheduled", 2, "seconds", 10),
    "messaging-purge-send-keys": ("messaging.tasks.purge_send_keys", 1, "hours", 1800),
    "messaging-purge-scheduled": ("messaging.tasks.purge_scheduled", 1, "hours", 1800),
    "messaging-purge-traces": ("messaging.tasks.purge_traces", 1, "hours", 1800),
    "messaging-expire-devices": ("messaging.tasks.expire_devices", 12, "hours", 3600),
}


def schedules_create(apps, schema_editor):
    interval = apps.get_model("django_celery_beat", "IntervalSchedule")
    periodic = apps.get_model("django_celery_beat", "PeriodicTask")
    for name, (task, every, period, expires) in SCHEDULES.items():
        # Not get_or_create: staff may have made two equal intervals.
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
        ("messaging", "0005_scheduled_facts"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(schedules_create, schedules_delete)]
