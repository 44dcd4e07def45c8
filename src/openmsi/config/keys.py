"""What may stand in a `.config` file of the OpenMSI programs: sections, keys, serializers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# The settings of librdkafka 2.16 that a text can be given for, without those for its own tests.
_CLIENT_KEYS = """
    acks allow.auto.create.topics api.version.fallback.ms api.version.request
    api.version.request.timeout.ms auto.commit.enable auto.commit.interval.ms auto.offset.reset
    batch.num.messages batch.size bootstrap.servers broker.address.family broker.address.ttl
    broker.version.fallback builtin.features check.crcs client.dns.lookup client.id client.rack
    client.software.name client.software.version compression.codec compression.level
    compression.type connections.max.idle.ms consume.callback.max.messages
    coordinator.query.interval.ms debug delivery.report.only.error delivery.timeout.ms
    enable.auto.commit enable.auto.offset.store enable.gapless.guarantee enable.idempotence
    enable.metrics.push enable.partition.eof enable.random.seed
    enable.sasl.oauthbearer.unsecure.jwt enable.sparse.connections
    enable.ssl.certificate.verification fetch.error.backoff.ms fetch.max.bytes
    fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms fetch.wait.max.ms group.id
    group.instance.id group.protocol group.protocol.type group.remote.assignor
    heartbeat.interval.ms https.ca.location https.ca.pem isolation.level linger.ms
    log.connection.close log.queue log.thread.name log_level max.in.flight
    max.in.flight.requests.per.connection max.partition.fetch.bytes max.poll.interval.ms
    max.poll.records message.copy.max.bytes message.max.bytes message.send.max.retries
    message.timeout.ms metadata.broker.list metadata.max.age.ms
    metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy
    metadata.request.timeout.ms offset.store.method offset.store.path
    offset.store.sync.interval.ms partition.assignment.strategy partitioner plugin.library.paths
    produce.offset.report queue.buffering.backpressure.threshold queue.buffering.max.kbytes
    queue.buffering.max.messages queue.buffering.max.ms queued.max.messages.kbytes
    queued.min.messages queuing.strategy receive.message.max.bytes reconnect.backoff.jitter.ms
    reconnect.backoff.max.ms reconnect.backoff.ms request.required.acks request.timeout.ms
    retries retry.backoff.max.ms retry.backoff.ms sasl.kerberos.keytab sasl.kerberos.kinit.cmd
    sasl.kerberos.min.time.before.relogin sasl.kerberos.principal sasl.kerberos.service.name
    sasl.mechanism sasl.mechanisms sasl.oauthbearer.assertion.algorithm
    sasl.oauthbearer.assertion.claim.aud sasl.oauthbearer.assertion.claim.exp.seconds
    sasl.oauthbearer.assertion.claim.iss sasl.oauthbearer.assertion.claim.jti.include
    sasl.oauthbearer.assertion.claim.nbf.seconds sasl.oauthbearer.assertion.claim.sub
    sasl.oauthbearer.assertion.file sasl.oauthbearer.assertion.jwt.template.file
    sasl.oauthbearer.assertion.private.key.file
    sasl.oauthbearer.assertion.private.key.passphrase sasl.oauthbearer.assertion.private.key.pem
    sasl.oauthbearer.client.credentials.client.id
    sasl.oauthbearer.client.credentials.client.secret sasl.oauthbearer.client.id
    sasl.oauthbearer.client.secret sasl.oauthbearer.config sasl.oauthbearer.extensions
    sasl.oauthbearer.grant.type sasl.oauthbearer.metadata.authentication.type
    sasl.oauthbearer.method sasl.oauthbearer.scope sasl.oauthbearer.sub.claim.name
    sasl.oauthbearer.token.endpoint.url sasl.password sasl.username security.protocol
    session.timeout.ms share.acknowledgement.mode socket.blocking.max.ms
    socket.connection.setup.timeout.ms socket.keepalive.enable socket.max.fails
    socket.nagle.disable socket.receive.buffer.bytes socket.send.buffer.bytes socket.timeout.ms
    ssl.ca.certificate.stores ssl.ca.location ssl.ca.pem ssl.certificate.location
    ssl.certificate.pem ssl.cipher.suites ssl.crl.location ssl.curves.list
    ssl.endpoint.identification.algorithm ssl.engine.id ssl.engine.location ssl.key.location
    ssl.key.password ssl.key.pem ssl.keystore.location ssl.keystore.password ssl.providers
    ssl.sigalgs.list statistics.interval.ms sticky.partitioning.linger.ms topic.blacklist
    topic.metadata.propagation.max.ms topic.metadata.refresh.fast.cnt
    topic.metadata.refresh.fast.interval.ms topic.metadata.refresh.interval.ms
    topic.metadata.refresh.sparse transaction.timeout.ms transactional.id
"""
CLIENT_KEYS = frozenset(_CLIENT_KEYS.split())

FILES = "DataFileChunk"
_KINDS = ("String", "Integer", "Double", FILES)
SERIALIZERS = {
    f"{side}.serializer": [f"{kind}Serializer" for kind in _KINDS] for side in ("key", "value")
}
DESERIALIZERS = {
    f"{side}.deserializer": [f"{kind}Deserializer" for kind in _KINDS] for side in ("key", "value")
}
CONVERTERS = SERIALIZERS | DESERIALIZERS

# In [heartbeat] and [log], and no setting of librdkafka: there is a separate producer always.
BESIDE_KAFKA = ("prefer.separate.producer",)

SERVICE = "openmsi_directory_stream_service"
SERVICE_KEYS = (
    "file_directory",
    "cluster_producer_config",
    "topic_name",
    "n_threads",
    "chunk_size",
    "queue_max_size",
    "new_files_only",
)
CLIENT_SECTIONS = ("broker", "cluster", "producer", "consumer", "heartbeat", "log")
UNSUPPORTED_SECTIONS = {
    "kafkacrypto": (
        "KafkaCrypto is not supported, and what it encrypted must not be sent in clear",
        "Programs that use it cannot be replaced yet.",
    ),
    "s3": (
        "the transfer to S3 is not supported",
        "Remove the section from the file that openmsi gets.",
    ),
}
SECTIONS = (*CLIENT_SECTIONS, SERVICE, *UNSUPPORTED_SECTIONS)

# A group of its own each time: 2021's word and today's.
FRESH_GROUPS = frozenset({"new", "create_new"})

_SECRET = re.compile(r"password|passphrase|secret|\bkey\.pem|oauthbearer\.config|token$")


def is_secret(key: str) -> bool:
    """May the value of this client setting be a secret?"""
    return bool(_SECRET.search(key))


def nearest(wrong: str, right: Iterable[str]) -> str:
    """ "Did you mean ...?" for the name in `right` that is most like `wrong`, or nothing."""
    names = {each.lower(): each for each in sorted(right)}
    found = difflib.get_close_matches(wrong.lower(), names, n=1)
    return f"Did you mean {names[found[0]]!r}?" if found else ""
