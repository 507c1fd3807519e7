"""The Celery application. Tasks sit beside the services that they call: `messaging/tasks.py`, `delivery/tasks.py`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "whispr.settings")

app = Celery("whispr")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
