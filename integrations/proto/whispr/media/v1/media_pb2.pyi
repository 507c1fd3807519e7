import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ValidateMediaAccessRequest(_message.Message):
    __slots__ = ("owner_id", "media_id", "keep_until")
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    MEDIA_ID_FIELD_NUMBER: _ClassVar[int]
    KEEP_UNTIL_FIELD_NUMBER: _ClassVar[int]
    owner_id: str
    media_id: str
    keep_until: _timestamp_pb2.Timestamp
    def __init__(self, owner_id: _Optional[str] = ..., media_id: _Optional[str] = ..., keep_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ValidateMediaAccessResponse(_message.Message):
    __slots__ = ("verdict", "media")
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[ValidateMediaAccessResponse.Verdict]
        VERDICT_GRANTED: _ClassVar[ValidateMediaAccessResponse.Verdict]
        VERDICT_NOT_FOUND: _ClassVar[ValidateMediaAccessResponse.Verdict]
    VERDICT_UNSPECIFIED: ValidateMediaAccessResponse.Verdict
    VERDICT_GRANTED: ValidateMediaAccessResponse.Verdict
    VERDICT_NOT_FOUND: ValidateMediaAccessResponse.Verdict
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    verdict: ValidateMediaAccessResponse.Verdict
    media: MediaMetadata
    def __init__(self, verdict: _Optional[_Union[ValidateMediaAccessResponse.Verdict, str]] = ..., media: _Optional[_Union[MediaMetadata, _Mapping]] = ...) -> None: ...

class MediaMetadata(_message.Message):
    __slots__ = ("media_id", "size", "sha256", "created_at")
    MEDIA_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    media_id: str
    size: int
    sha256: bytes
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, media_id: _Optional[str] = ..., size: _Optional[int] = ..., sha256: _Optional[bytes] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LinkMediaToMessageRequest(_message.Message):
    __slots__ = ("media_id", "message_id", "conversation_id")
    MEDIA_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    media_id: str
    message_id: str
    conversation_id: str
    def __init__(self, media_id: _Optional[str] = ..., message_id: _Optional[str] = ..., conversation_id: _Optional[str] = ...) -> None: ...

class LinkMediaToMessageResponse(_message.Message):
    __slots__ = ("verdict",)
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[LinkMediaToMessageResponse.Verdict]
        VERDICT_LINKED: _ClassVar[LinkMediaToMessageResponse.Verdict]
        VERDICT_GONE: _ClassVar[LinkMediaToMessageResponse.Verdict]
    VERDICT_UNSPECIFIED: LinkMediaToMessageResponse.Verdict
    VERDICT_LINKED: LinkMediaToMessageResponse.Verdict
    VERDICT_GONE: LinkMediaToMessageResponse.Verdict
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    verdict: LinkMediaToMessageResponse.Verdict
    def __init__(self, verdict: _Optional[_Union[LinkMediaToMessageResponse.Verdict, str]] = ...) -> None: ...

class UnlinkMediaFromMessageRequest(_message.Message):
    __slots__ = ("media_id", "message_id")
    MEDIA_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    media_id: str
    message_id: str
    def __init__(self, media_id: _Optional[str] = ..., message_id: _Optional[str] = ...) -> None: ...

class UnlinkMediaFromMessageResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
