import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_MESSAGE: _ClassVar[Kind]
    KIND_CLEAR: _ClassVar[Kind]
KIND_UNSPECIFIED: Kind
KIND_MESSAGE: Kind
KIND_CLEAR: Kind

class Push(_message.Message):
    __slots__ = ("key", "kind", "user_id", "conversation_id", "message_ids", "count", "badge", "devices", "expires_at")
    KEY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BADGE_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    key: str
    kind: Kind
    user_id: str
    conversation_id: str
    message_ids: _containers.RepeatedScalarFieldContainer[str]
    count: int
    badge: int
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, key: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., message_ids: _Optional[_Iterable[str]] = ..., count: _Optional[int] = ..., badge: _Optional[int] = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("device_id", "platform", "token")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    platform: str
    token: str
    def __init__(self, device_id: _Optional[str] = ..., platform: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class SendPushNotificationsRequest(_message.Message):
    __slots__ = ("pushes",)
    PUSHES_FIELD_NUMBER: _ClassVar[int]
    pushes: _containers.RepeatedCompositeFieldContainer[Push]
    def __init__(self, pushes: _Optional[_Iterable[_Union[Push, _Mapping]]] = ...) -> None: ...

class SendPushNotificationsResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("key", "accepted", "invalid_device_ids", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    INVALID_DEVICE_IDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: str
    accepted: bool
    invalid_device_ids: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    def __init__(self, key: _Optional[str] = ..., accepted: _Optional[bool] = ..., invalid_device_ids: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ...) -> None: ...
