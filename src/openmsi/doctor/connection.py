"""Step by step to the brokers: name, connection, TLS, login."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from openmsi.doctor.finding import Finding
from openmsi.errors import NotAuthorized, OpenMSIError
from openmsi.kafka import KafkaAdmin, KafkaSettings

CONNECT_SECONDS = 4.0
_AT_A_TIME = 16
_KAFKA_PORT = 9092

_OWN_CERTIFICATE = {"ssl.certificate.location", "ssl.certificate.pem", "ssl.keystore.location"}
_FIREWALL = "Check the address and port; a firewall may be between."


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def addresses_of(bootstrap_servers: str) -> tuple[Address, ...]:
    """The addresses as librdkafka understands them: `[PROTOCOL://]HOST[:PORT]`, by commas."""
    found = []
    for each in bootstrap_servers.split(","):
        text = re.sub(r"^\w+://", "", each.strip())
        match = re.fullmatch(r"\[(.*)\](?::(\d+))?|([^:]*)(?::(\d+))?", text)
        if match is None:
            found.append(Address(text, _KAFKA_PORT))  # an address of IPv6 without brackets
        elif text:
            six, six_port, four, port = match.groups()
            found.append(Address(six or four, int(six_port or port or _KAFKA_PORT)))
    return tuple(found)


def reach(address: Address) -> Finding:
    """Is the name known, and does somebody take a connection there?"""
    about = str(address)
    try:
        known = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        cure = "Check how it is written, and this computer's name service (DNS)."
        return Finding("name", about, "wrong", f"its name is not known here: {why}", cure)
    shown = ", ".join(dict.fromkeys(str(each[4][0]) for each in known))
    problem = ""
    for family, kind, protocol, _, place in known:
        try:
            with socket.socket(family, kind, protocol) as connection:
                connection.settimeout(CONNECT_SECONDS)
                connection.connect(place)
            return Finding("connection", about, "ok", f"a connection is taken ({shown})")
        except OSError as error:
            problem = error.strerror or f"no answer within {CONNECT_SECONDS:.0f} s"
    text = f"the name is known ({shown}), but no connection is made: {problem}"
    return Finding("connection", about, "wrong", text, _FIREWALL)


def reach_any(bootstrap_servers: str) -> tuple[bool, list[Finding]]:
    """Whether one of the addresses answers, and how each is. One that answers is enough: then
    the others are warnings."""
    found = _reach_all(addresses_of(bootstrap_servers))
    if not any(each.state == "ok" for each in found):
        return False, [
            Finding(each.check, each.about, each.state, each.text, f"{each.cure} {_OWN_BROKER}")
            for each in found
        ]
    return True, [as_warning(each) for each in found]


def _reach_all(addresses: Sequence[Address]) -> list[Finding]:
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(pool.map(reach, addresses))


_OWN_BROKER = "A broker of your own: openmsi broker start"


def as_warning(finding: Finding) -> Finding:
    """The same, at most as a warning."""
    if finding.state != "wrong":
        return finding
    return Finding(finding.check, finding.about, "warning", finding.text, finding.cure)


def log_in(admin: KafkaAdmin, settings: KafkaSettings) -> tuple[Sequence[str], Iterator[Finding]]:
    """Ask a broker that takes connections: the addresses of all brokers, and how TLS and login
    went. No address where that failed."""
    about = settings.bootstrap_servers
    try:
        brokers = admin.brokers()
    except OpenMSIError as error:
        return (), iter([refusal(error, settings)])
    return brokers, _welcome(about, settings.client)


def _welcome(about: str, client: Mapping[str, object]) -> Iterator[Finding]:
    tls, login = secured(client)
    if tls:
        checked = str(client.get("enable.ssl.certificate.verification", "true")).lower() != "false"
        text = "encrypted, and the broker's certificate is right"
        if checked:
            yield Finding("TLS", about, "ok", text)
        else:
            text = "encrypted, but the broker's certificate is not checked"
            cure = "Remove enable.ssl.certificate.verification, and set ssl.ca.location."
            yield Finding("TLS", about, "warning", text, cure)
    if login:
        clear = "" if tls else " (the password is sent without encryption)"
        yield Finding("login", about, "ok", f"as {user_of(client)}{clear}")
    elif tls and _OWN_CERTIFICATE & set(client):
        yield Finding("login", about, "ok", "by this user's certificate, if the broker asks for it")
    else:
        yield Finding("login", about, "ok", "none is asked for")


def refusal(error: OpenMSIError, settings: KafkaSettings) -> Finding:
    """Which step failed, of a broker that takes connections."""
    about, (tls, login) = settings.bootstrap_servers, secured(settings.client)
    why = error.why.removeprefix(f"{about}: ")
    if isinstance(error, NotAuthorized):
        whom = f"{user_of(settings.client)} is refused" if login else "it is refused"
        cure = "Check sasl.mechanism, sasl.username and sasl.password; ask who runs the broker."
        return Finding("login", about, "wrong", f"{whom}: {why}", cure)
    if tls:
        cure = (
            "Check ssl.ca.location, that the certificate is for this name of the broker, and that"
        )
        cure += " the port is one for TLS."
        return Finding("TLS", about, "wrong", f"TLS does not come about: {why}", cure)
    text = f"something takes connections there, but does not answer as Kafka does: {why}"
    cure = "Is it Kafka's port? If the broker wants TLS or a login, set security.protocol"
    return Finding("answer", about, "wrong", text, f"{cure} (and sasl.mechanism).")


def secured(client: Mapping[str, object]) -> tuple[bool, bool]:
    """Whether the client is told to use TLS, and whether to log in."""
    protocol = str(client.get("security.protocol", "plaintext")).lower()
    return "ssl" in protocol, "sasl" in protocol


def user_of(client: Mapping[str, object]) -> str:
    """Who logs in, for people."""
    name = client.get("sasl.username")
    return f"user {name!r}" if name else "this user"


def judge_brokers(brokers: Sequence[str], bootstrap_servers: str) -> Iterator[Finding]:
    """Can the brokers be reached where they tell their clients to come? That is often another
    address than the first, and must work as well."""
    first = set(addresses_of(bootstrap_servers))
    addresses = sorted(address for each in brokers for address in addresses_of(each))
    for found in _reach_all([each for each in addresses if each not in first]):
        if found.state == "ok":
            yield Finding("broker", found.about, "ok", found.text)
        else:
            text = f"the cluster sends its clients there; {found.text}"
            cure = "Ask who runs the broker whether advertised.listeners is right for this place."
            yield Finding("broker", found.about, "wrong", text, f"{found.cure} {cure}")
