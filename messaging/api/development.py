"""The development sign-in (docs/protocol.md §7 `dev/tokens`, `dev/people`): 404 unless WHISPR_DEV_LOGIN=1."""

from http import HTTPStatus

from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from messaging.api.base import ApiView, answer, body_of, call
from messaging.api.openapi import operation
from messaging.api.shapes import DevLogin, PeopleList
from messaging.services.dev_login import DevToken, dev_login, dev_people_list

TAG = "development"


class _DevView(ApiView):
    authentication_classes = []
    permission_classes = [AllowAny]


class DevTokens(_DevView):
    """`dev/tokens`."""

    @operation("devLogin", "Sign in as any name", {201: DevToken}, body=DevLogin, errors=(404,), tag=TAG, public=True)
    def post(self, request: Request) -> Response:
        """A token of the user that the name always means."""
        login = body_of(request, DevLogin)
        return answer(call(dev_login, login.name, login.device_id), HTTPStatus.CREATED)


class DevPeople(_DevView):
    """`dev/people`."""

    @operation("devPeople", "Who signed in", {200: PeopleList}, errors=(404,), tag=TAG, public=True)
    def get(self, request: Request) -> Response:
        """The names that signed in, the latest first."""
        return answer(PeopleList(call(dev_people_list)))
