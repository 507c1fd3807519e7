"""The routes of the API's first version that receipts answer (PROTOCOL.md §3)."""

from django.urls import path

from delivery.api import receipts

urlpatterns = [
    path("acks", receipts.AckView.as_view()),
    path("messages/<id:message_id>/read", receipts.MessageRead.as_view()),
    path("messages/<id:message_id>/delivery", receipts.MessageDelivery.as_view()),
]
