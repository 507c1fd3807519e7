"""The routes of the API's first version that receipts answer (docs/protocol.md §7)."""

from django.urls import path

from delivery.api import receipts, trace

urlpatterns = [
    path("acks", receipts.AckView.as_view()),
    path("messages/<id:message_id>/read", receipts.MessageRead.as_view()),
    path("messages/<id:message_id>/delivery", receipts.MessageDelivery.as_view()),
    path("messages/<id:message_id>/trace", trace.MessageTrace.as_view()),
]
