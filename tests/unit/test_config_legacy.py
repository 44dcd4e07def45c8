"""The `.config` files of the OpenMSI programs: what they say to our clients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from openmsi.config import (
    ClientSettings,
    DirectoryStream,
    LegacyConfig,
    load,
    load_settings,
    read_legacy_config,
)
from openmsi.errors import ConfigError
from openmsi.kafka import KafkaSettings

PROD = {
    "KAFKA_PROD_CLUSTER_BOOTSTRAP_SERVERS": "kafka.example.org:9092",
    "KAFKA_PROD_CLUSTER_USERNAME": "microscope-3",
    "KAFKA_PROD_CLUSTER_PASSWORD": "00%12$x",
}
FULL = """\
[broker]
bootstrap.servers = kafka.example.org:9092
sasl.password = 00%12$x
[producer]
batch.size = 2000000
linger.ms = 100
compression.type = lz4
key.serializer = StringSerializer
value.serializer = DataFileChunkSerializer
[consumer]
group.id = create_new
auto.offset.reset = earliest
enable.auto.commit = False
fetch.min.bytes = 100000
key.deserializer = StringDeserializer
value.deserializer = DataFileChunkDeserializer
"""
SERVICE = """\
[openmsi_directory_stream_service]
file_directory = D:\\data
cluster_producer_config = lab
topic_name = oxford_EBSD
n_threads = 5
chunk_size = 16384
queue_max_size = 3000
new_files_only = no
"""
Read = Callable[..., LegacyConfig]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read(text: str, **environment: str) -> LegacyConfig:
        (tmp_path / "x.config").write_text(text, encoding="utf-8")
        return read_legacy_config(tmp_path / "x.config", environment)

    return read


def assert_wrong(read: Read, text: str, *parts: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text)
    for part in ("x.config", *parts):
        assert part in str(error.value), f"{part!r} is not in {str(error.value)!r}"


# -- what a client is told ---------------------------------------------------------------------


def test_a_password_comes_out_as_it_stands(read: Read) -> None:
    assert read(FULL).client.sending()["sasl.password"] == "00%12$x"
    assert read(FULL.replace("00%12$x", "00123456")).client.broker["sasl.password"] == "00123456"


def test_a_password_of_the_environment_comes_out_as_it_stands(read: Read) -> None:
    config = read(FULL.replace("00%12$x", "$P"), P="$00%12$P")
    assert config.client.receiving()["sasl.password"] == "$00%12$P"


def test_what_the_programs_have_by_default_needs_no_note(read: Read) -> None:
    client = read(FULL).client
    assert client.notes == ()
    assert client.broker == {
        "bootstrap.servers": "kafka.example.org:9092",
        "sasl.password": "00%12$x",
    }
    assert client.producer == {
        "batch.size": "2000000",
        "linger.ms": "100",
        "compression.type": "lz4",
    }
    assert client.consumer == {"fetch.min.bytes": "100000"}
    assert client.group is None
    assert client.format == "openmsi-9"


def test_cluster_means_broker(read: Read) -> None:
    assert read(FULL.replace("[broker]", "[cluster]")) == read(FULL)


def test_producer_and_consumer_go_over_broker(read: Read) -> None:
    client = read(
        "[broker]\nbootstrap.servers=a:1\nclient.id=all\n"
        "[producer]\nclient.id=p\n[consumer]\nmetadata.broker.list=b:2\n"
    ).client
    assert client.sending() == {"bootstrap.servers": "a:1", "client.id": "p"}
    assert client.receiving() == {"bootstrap.servers": "b:2", "client.id": "all"}


def test_the_settings_are_accepted_by_the_kafka_client(read: Read) -> None:
    client = read(FULL).client
    for settings in (client.sending(), client.receiving()):
        assert KafkaSettings(settings.pop("bootstrap.servers"), settings).client == settings


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("acks = 1", "every in-sync replica"),
        ("enable.auto.commit = True", "only after the files are on disk"),
        ("auto.offset.reset = latest", "a new group must see the whole topic"),
        ("partitioner = random", "share a partition"),
        ("retries = 3", "a record must not be given up"),
        ("transactional.id = t", "without Kafka transactions"),
    ],
)
def test_a_setting_that_would_break_a_promise_is_left_out_with_a_note(
    read: Read, line: str, why: str
) -> None:
    config = read(f"[broker]\nbootstrap.servers=a\n{line}\n")
    assert config.client.broker == {"bootstrap.servers": "a"}
    (note,) = config.notes
    assert f"x.config, line 3, [broker] {line} is not used: " in note
    assert why in note


@pytest.mark.parametrize(
    "line",
    [
        "acks = -1",
        "acks = all",
        "enable.auto.commit = False",
        "enable.idempotence = true",
        "auto.offset.reset = none",
        "auto.offset.reset = smallest",
    ],
)
def test_a_setting_that_keeps_a_promise_is_left_out_silently(read: Read, line: str) -> None:
    config = read(f"[consumer]\n{line}\n")
    assert config.client == ClientSettings()


@pytest.mark.parametrize(
    ("section", "text", "expected"),
    [
        ("consumer", "create_new", None),
        ("consumer", "new", None),
        ("consumer", "", None),
        ("consumer", "lab-3", "lab-3"),
        ("cluster", "lab-3", "lab-3"),
        ("producer", "lab-3", None),
    ],
)
def test_groups(read: Read, section: str, text: str, expected: str | None) -> None:
    config = read(f"[{section}]\ngroup.id = {text}\n")
    assert config.client == ClientSettings(group=expected)


# -- serializers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "[producer]\nvalue.serializer = DataFileChunkSerializer",
        "[consumer]\nvalue.deserializer = DataFileChunkDeserializer",
    ],
)
def test_chunks_of_files_mean_their_format(read: Read, line: str) -> None:
    assert read(f"{line}\n").client == ClientSettings(format="openmsi-9")


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("key.serializer = IntegerSerializer", "keys are text"),
        ("key.deserializer = DoubleDeserializer", "keys are text"),
        ("value.serializer = StringSerializer", "chunks of files"),
        ("value.deserializer = DoubleDeserializer", "chunks of files"),
    ],
)
def test_other_serializers_are_left_out_with_a_note(read: Read, line: str, note: str) -> None:
    client = read(f"[broker]\n{line}\n").client
    assert client.format is None
    assert len(client.notes) == 1
    assert f"line 2, [broker] {line} is not used: " in client.notes[0]
    assert note in client.notes[0]


def test_an_unknown_serializer_is_named_with_the_nearest(read: Read) -> None:
    text = "[producer]\n\nvalue.serializer = DataFileChunkSerialiser\n"
    assert_wrong(read, text, "line 3, [producer] value.serializer", "'DataFileChunkSerializer'")
    assert_wrong(read, "[producer]\nkey.serializer = zz\n", "'zz'", "Known are StringSerializer")


def test_heartbeats_and_logs_have_settings_of_their_own(read: Read) -> None:
    text = "[heartbeat]\nlinger.ms=1\nvalue.serializer=StringSerializer\n[log]\nlinger.ms=2\n"
    config = read(text)
    assert config.heartbeat == {"linger.ms": "1"}
    assert config.log == {"linger.ms": "2"}
    assert config.client == ClientSettings()
    assert read("[broker]\n").heartbeat is None


# -- unknown and refused -----------------------------------------------------------------------


def test_an_unknown_section_is_named_with_the_nearest(read: Read) -> None:
    assert_wrong(read, "[broker]\n\n[poducer]\n", "line 3, [poducer]", "'producer'")
    assert_wrong(read, "[zzzz]\n", "line 1, [zzzz]", "Known are [broker], [cluster]")
    assert_wrong(read, "[DEFAULT]\na=1\n", "line 1, [DEFAULT]")


def test_an_unknown_key_is_named_with_the_nearest(read: Read) -> None:
    assert_wrong(
        read,
        "[broker]\nbootstrap.server = x\n",
        "line 2, [broker] bootstrap.server",
        "no setting of librdkafka",
        "'bootstrap.servers'",
    )
    assert_wrong(read, "[producer]\nzzzz = 1\n", "CONFIGURATION.md")
    assert_wrong(read, "[broker]\nqueue_max_size = 1\n", "[openmsi_directory_stream_service]")


@pytest.mark.parametrize("section", ["kafkacrypto", "s3"])
def test_what_is_not_supported_is_refused_by_name(read: Read, section: str) -> None:
    assert_wrong(read, f"[broker]\n[{section}]\nx=1\n", f"line 2, [{section}]", "not supported")


def test_broker_and_cluster_together_are_an_error(read: Read) -> None:
    assert_wrong(read, "[broker]\n[cluster]\n", "line 2, [cluster]", "same as [broker]")


def test_an_unset_variable_is_named_with_its_place(read: Read) -> None:
    assert_wrong(
        read, "[broker]\nclient.id = $NO_SUCH\n", "line 2, [broker] client.id", "NO_SUCH is not set"
    )


# -- the service of 2021 -----------------------------------------------------------------------


def test_a_service_names_the_file_for_its_cluster(read: Read, tmp_path: Path) -> None:
    (tmp_path / "lab.config").write_text(FULL)
    config = read(SERVICE)
    assert config.service == DirectoryStream("D:\\data", "oxford_EBSD", 16384, False)
    assert config.client == read(FULL).client


def test_a_service_may_name_a_configuration_that_is_built_in(read: Read) -> None:
    config = read(SERVICE.replace("= lab", "= prod"), **PROD)
    assert config.client.broker["sasl.password"] == "00%12$x"
    assert config.client.format == "openmsi-9"


def test_a_service_may_have_cluster_and_producer_inline(read: Read) -> None:
    service = "".join(SERVICE.splitlines(keepends=True)[:2]) + "topic_name = oxford_EBSD\n"
    config = read(service + FULL.replace("[broker]", "[cluster]"))
    assert config.service == DirectoryStream("D:\\data", "oxford_EBSD", None, True)
    assert config.client == read(FULL).client


@pytest.mark.parametrize("section", ["[cluster]", "[producer]"])
def test_a_service_with_both_is_an_error(read: Read, section: str) -> None:
    where = "line 3, [openmsi_directory_stream_service] cluster_producer_config"
    assert_wrong(read, f"{SERVICE}{section}\n", where, f"has {section} too")


def test_a_service_with_neither_is_an_error(read: Read) -> None:
    text = SERVICE.replace("cluster_producer_config = lab\n", "")
    assert_wrong(read, text, "line 1, [openmsi_directory_stream_service]", "which Kafka brokers")


def test_a_cluster_file_that_is_not_there_is_an_error_of_that_line(read: Read) -> None:
    assert_wrong(read, SERVICE, "line 3", "cluster_producer_config: lab: there is no file")


def test_a_cluster_file_must_not_be_a_service_itself(read: Read) -> None:
    assert_wrong(read, SERVICE.replace("= lab", "= x"), "line 3", "has a section")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("n_threads = 5", "n_threads = five", ["line 5", "n_threads", "'five'", "whole number"]),
        ("chunk_size = 16384", "chunk_size = 0", ["line 6", "chunk_size", "above 0"]),
        ("chunk_size = 16384", "chunk_size = \u0665", ["whole number"]),
        ("queue_max_size = 3000", "queue_max_size = 3e3", ["line 7", "'3e3'"]),
        ("new_files_only = no", "new_files_only = nope", ["line 8", "neither yes nor no"]),
        ("file_directory = D:\\data", "file_directory =", ["line 1", "file_directory is missing"]),
        ("topic_name = oxford_EBSD\n", "", ["line 1", "topic_name is missing"]),
        ("topic_name", "topic", ["line 4", "no such setting", "'topic_name'"]),
        ("n_threads", "zzzzz", ["It has file_directory, cluster_producer_config"]),
    ],
)
def test_a_wrong_line_of_a_service_is_named(
    read: Read, tmp_path: Path, old: str, new: str, parts: list[str]
) -> None:
    (tmp_path / "lab.config").write_text(FULL)
    assert old in SERVICE
    assert_wrong(read, SERVICE.replace(old, new), *parts)


# -- names, and what is shown ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["prod", "test"])
def test_the_named_configurations_take_all_from_the_environment(name: str) -> None:
    environment = {key.replace("PROD", name.upper()): text for key, text in PROD.items()}
    settings = load_settings(name, environment)
    assert settings.broker == {
        "bootstrap.servers": "kafka.example.org:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "microscope-3",
        "sasl.password": "00%12$x",
    }
    assert settings.format == "openmsi-9"
    assert settings.notes == ()


def test_a_named_configuration_without_its_variables_says_which() -> None:
    with pytest.raises(ConfigError, match="KAFKA_PROD_CLUSTER_BOOTSTRAP_SERVERS is not set"):
        load_settings("prod", {})


def test_without_another_environment_the_own_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, text in PROD.items():
        monkeypatch.setenv(key, text)
    assert load("prod") == read_legacy_config("prod")


def test_no_value_of_a_setting_is_shown(read: Read) -> None:
    config = read(FULL + "[heartbeat]\nsasl.password = 00%12$x\n")
    assert "00%12$x" not in repr(config)
    assert "sasl.password" in repr(config)
