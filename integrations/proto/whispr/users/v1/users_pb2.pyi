from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_GRANTED: _ClassVar[Verdict]
    VERDICT_NOT_A_MEMBER: _ClassVar[Verdict]
    VERDICT_NOT_ALLOWED: _ClassVar[Verdict]
VERDICT_UNSPECIFIED: Verdict
VERDICT_GRANTED: Verdict
VERDICT_NOT_A_MEMBER: Verdict
VERDICT_NOT_ALLOWED: Verdict

class ValidateMessagePermissionsRequest(_message.Message):
    __slots__ = ("sender_id", "conversation_id", "participant_ids")
    SENDER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_IDS_FIELD_NUMBER: _ClassVar[int]
    sender_id: str
    conversation_id: str
    participant_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sender_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., participant_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ValidateMessagePermissionsResponse(_message.Message):
    __slots__ = ("verdict", "recipient_ids")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_IDS_FIELD_NUMBER: _ClassVar[int]
    verdict: Verdict
    recipient_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, verdict: _Optional[_Union[Verdict, str]] = ..., recipient_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GetOfflineRecipientsRequest(_message.Message):
    __slots__ = ("candidates",)
    class Candidate(_message.Message):
        __slots__ = ("user_id", "conversation_id")
        USER_ID_FIELD_NUMBER: _ClassVar[int]
        CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
        user_id: str
        conversation_id: str
        def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ...) -> None: ...
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    candidates: _containers.RepeatedCompositeFieldContainer[GetOfflineRecipientsRequest.Candidate]
    def __init__(self, candidates: _Optional[_Iterable[_Union[GetOfflineRecipientsRequest.Candidate, _Mapping]]] = ...) -> None: ...

class GetOfflineRecipientsResponse(_message.Message):
    __slots__ = ("recipients",)
    class Recipient(_message.Message):
        __slots__ = ("user_id", "conversation_id", "wanted")
        USER_ID_FIELD_NUMBER: _ClassVar[int]
        CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
        WANTED_FIELD_NUMBER: _ClassVar[int]
        user_id: str
        conversation_id: str
        wanted: bool
        def __init__(self, user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., wanted: _Optional[bool] = ...) -> None: ...
    RECIPIENTS_FIELD_NUMBER: _ClassVar[int]
    recipients: _containers.RepeatedCompositeFieldContainer[GetOfflineRecipientsResponse.Recipient]
    def __init__(self, recipients: _Optional[_Iterable[_Union[GetOfflineRecipientsResponse.Recipient, _Mapping]]] = ...) -> None: ...
