"""Where the services around this one are called over gRPC, and on which conditions (docs/protocol.md "Services around
it").
"""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from whispr.kernel.addresses import ADDRESS, is_loopback
from whispr.kernel.breaker import Dependency

SETTINGS: dict[Dependency, str] = {
    "user_service": "WHISPR_USER_SERVICE",
    "media_service": "WHISPR_MEDIA_SERVICE",
    "notification_service": "WHISPR_NOTIFICATION_SERVICE",
}

# What is wrong, and what to do.
Advice = tuple[str, str]


@dataclass(frozen=True, slots=True)
class RemoteService:
    """One service's `host:port`, and the paths of PEM files; empty where not set.

    With `ca` the connection is TLS and the service proves itself by a certificate of that authority; with `certificate`
    and `key` besides, we prove ourselves to it.
    """

    setting: str
    address: str
    ca: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def has_tls(self) -> bool:
        """Whether the connection is encrypted, and the service has to prove itself."""
        return bool(self.ca)

    def refusal(self) -> Advice | None:
        """Why the service cannot be called so; None where it can, or where none is named."""
        if not self.address:
            return None
        match = ADDRESS.fullmatch(self.address)
        if match is None or not 0 < int(match["port"]) < 65_536:
            return f"{self.setting} is {self.address!r}, which is not host:port.", "Set it as users.internal:9001."
        if bool(self.certificate) != bool(self.key):
            return (
                "Of WHISPR_SERVICES_CERT and WHISPR_SERVICES_KEY one is not set: a certificate needs its key.",
                "Set both to PEM files, or neither.",
            )
        if self.certificate and not self.ca:
            return (
                "WHISPR_SERVICES_CERT is set and WHISPR_SERVICES_CA is not: nothing would be encrypted or proven.",
                "Set WHISPR_SERVICES_CA to the authority of the services' certificates.",
            )
        for path in (self.ca, self.certificate, self.key):
            reason = _unreadable(path)
            if reason is not None:
                return f"{path} cannot be read: {reason}.", "Set WHISPR_SERVICES_CA, …_CERT and …_KEY to PEM files."
        return None

    def danger(self) -> Advice | None:
        """What works so, and should not be done."""
        match = ADDRESS.fullmatch(self.address)
        if match is None or self.has_tls or is_loopback(match["host"]):
            return None
        return (
            f"{self.setting} is {self.address}, without TLS: whoever is on the way can answer in its name.",
            "Set WHISPR_SERVICES_CA, and WHISPR_SERVICES_CERT and WHISPR_SERVICES_KEY where the service asks for them.",
        )


def remote_service(name: Dependency) -> RemoteService | None:
    """What the settings say of a service; None where it is not set, and the local answer is used."""
    address = str(getattr(settings, SETTINGS[name]))
    if not address:
        return None
    return RemoteService(
        SETTINGS[name],
        address,
        settings.WHISPR_SERVICES_CA,
        settings.WHISPR_SERVICES_CERT,
        settings.WHISPR_SERVICES_KEY,
    )


def remote_services() -> dict[Dependency, RemoteService]:
    """All services that are set."""
    found = {name: remote_service(name) for name in SETTINGS}
    return {name: one for name, one in found.items() if one is not None}


def _unreadable(path: str) -> str | None:
    if not path:
        return None
    try:
        with Path(path).open("rb") as file:
            return None if file.read(1) else "it is empty"
    except OSError as error:
        return error.strerror or type(error).__name__
