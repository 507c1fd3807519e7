"""Where other services may call this one over gRPC, and on which conditions (docs/protocol.md "Services around it").

Whoever can call may speak for the server. So it is this machine alone, or holders of a certificate.
"""

from dataclasses import dataclass

from django.conf import settings

from whispr.kernel.addresses import ADDRESS, is_loopback


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """WHISPR_GRPC_ADDRESS, and the paths of the PEM files of mutual TLS; empty where not set."""

    address: str
    certificate: str = ""
    key: str = ""
    client_ca: str = ""

    @property
    def has_tls(self) -> bool:
        """Whether mutual TLS is set up."""
        return bool(self.certificate and self.key and self.client_ca)

    def refusal(self) -> tuple[str, str] | None:
        """Why nobody may be served so, and what to do; None where all is well, or nothing is asked for."""
        if not self.address:
            return None
        match = ADDRESS.fullmatch(self.address)
        if match is None or not 0 < int(match["port"]) < 65_536:
            return (
                f"WHISPR_GRPC_ADDRESS is {self.address!r}, which is not host:port.",
                "Set it as 127.0.0.1:9000, [::1]:9000 or, with mutual TLS, 0.0.0.0:9000.",
            )
        if (self.certificate or self.key or self.client_ca) and not self.has_tls:
            return (
                "Of WHISPR_GRPC_CERT, WHISPR_GRPC_KEY and WHISPR_GRPC_CLIENT_CA some are not set: TLS needs all.",
                "Set all three to PEM files, or none of them and WHISPR_GRPC_ADDRESS to 127.0.0.1 and a port.",
            )
        if not self.has_tls and not is_loopback(match["host"]):
            return (
                f"WHISPR_GRPC_ADDRESS is {self.address}, without mutual TLS: whoever reaches it could post.",
                "Set WHISPR_GRPC_CERT, WHISPR_GRPC_KEY and WHISPR_GRPC_CLIENT_CA, or listen on 127.0.0.1 only.",
            )
        return None


def service_entry() -> ServiceEntry:
    """What the settings say."""
    return ServiceEntry(
        settings.WHISPR_GRPC_ADDRESS,
        settings.WHISPR_GRPC_CERT,
        settings.WHISPR_GRPC_KEY,
        settings.WHISPR_GRPC_CLIENT_CA,
    )
