"""`openmsi config check` and `convert`: what people read, without secrets."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from openmsi.cli.config import app
from openmsi.config import ClientSettings, LegacyConfig, read_legacy_config, to_agent_toml
from openmsi.errors import ConfigError, OpenMSIError

CONFIG = """\
[cluster]
bootstrap.servers = kafka.example.org:9092
security.protocol = SASL_SSL
sasl.mechanism = PLAIN
sasl.username = microscope-3
sasl.password = hunter2
ssl.ca.location = C:\\lab\\ca.pem
acks = 1
[producer]
linger.ms = 100
value.serializer = DataFileChunkSerializer
[openmsi_directory_stream_service]
file_directory = D:\\data "new"
topic_name = oxford_EBSD
chunk_size = 16384
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ebsd.config"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


# -- convert -----------------------------------------------------------------------------------


def test_a_service_becomes_an_agent(config: Path) -> None:
    done = run("convert", config)
    assert done.exit_code == 0
    assert tomllib.loads(done.stdout) == {
        "kafka": {
            "bootstrap_servers": "kafka.example.org:9092",
            "client": {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "microscope-3",
                "sasl.password": "$KAFKA_SASL_PASSWORD",
                "ssl.ca.location": "C:\\lab\\ca.pem",
            },
            "producer": {"linger.ms": "100"},
        },
        "watch": [
            {
                "directory": 'D:\\data "new"',
                "topic": "oxford_EBSD",
                "format": "openmsi-9",
                "chunk_size": 16384,
                "new_only": True,
            }
        ],
    }


def test_a_secret_in_clear_text_is_not_repeated(config: Path) -> None:
    done = run("convert", config)
    assert "hunter2" not in done.output
    assert "# It stood in the older file in clear text." in done.stdout


def test_what_is_left_out_is_said_with_its_line(config: Path) -> None:
    config.write_text(f"{CONFIG}[log]\n")
    done = run("convert", config)
    assert "line 8, [cluster] acks = 1 is not used" in done.stdout
    assert "# Not taken over: the section [log].\n" in done.stdout


def test_references_stay_references_and_need_not_be_set() -> None:
    done = run("convert", "prod")
    kafka = tomllib.loads(done.stdout)["kafka"]
    assert kafka["bootstrap_servers"] == "$KAFKA_PROD_CLUSTER_BOOTSTRAP_SERVERS"
    assert kafka["client"]["sasl.password"] == "$KAFKA_PROD_CLUSTER_PASSWORD"


def test_what_the_older_file_does_not_say_is_a_comment(tmp_path: Path) -> None:
    (tmp_path / "x.config").write_text(
        "[consumer]\ngroup.id = lab-3\nvalue.deserializer = DataFileChunkDeserializer\n"
    )
    done = run("convert", tmp_path / "x.config")
    assert tomllib.loads(done.stdout) == {"kafka": {}}
    uncommented = done.stdout.replace("\n# [[", "\n[[").replace('\n# bootstrap_servers = "', "\n#")
    for name in ("directory", "topic", "format", "group"):
        uncommented = uncommented.replace(f"\n# {name} =", f"\n{name} =")
    assert tomllib.loads(uncommented) == {
        "kafka": {},
        "watch": [{"directory": "DIRECTORY", "topic": "TOPIC", "format": "openmsi-9"}],
        "download": [{"directory": "DIRECTORY", "topic": "TOPIC", "group": "lab-3"}],
    }


def test_a_reference_whose_meaning_is_needed_must_be_set(tmp_path: Path) -> None:
    (tmp_path / "x.config").write_text("[broker]\nacks = $NO_SUCH\n")
    with pytest.raises(ConfigError, match="NO_SUCH is not set"):
        read_legacy_config(tmp_path / "x.config", {}, keep_references=True)


def test_a_client_configuration_cannot_be_converted(tmp_path: Path) -> None:
    (tmp_path / "c.properties").write_text("a=b\n")
    done = run("convert", tmp_path / "c.properties")
    assert isinstance(done.exception, ConfigError)


_texts = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(_texts, st.dictionaries(_texts, _texts, max_size=3), st.lists(_texts, max_size=2))
def test_any_text_comes_back_from_toml(
    source: str, client: dict[str, str], notes: list[str]
) -> None:
    said = ClientSettings({"bootstrap.servers": "a"}, client, notes=tuple(notes))
    parsed = tomllib.loads(to_agent_toml(LegacyConfig(source, said)))
    found = parsed["kafka"].get("producer", {})
    assert found.keys() == client.keys()
    for key, text in client.items():
        assert found[key] == text or found[key].startswith("$KAFKA_")


# -- check -------------------------------------------------------------------------------------


def test_check_says_what_a_file_means(config: Path) -> None:
    done = run("check", config)
    assert done.exit_code == 0
    for line in (
        f"file            {config}",
        "brokers         kafka.example.org:9092",
        "connection      login over TLS",
        "login           as 'microscope-3' with a password by PLAIN",
        "sends           records of the format openmsi-9, as the OpenMSI programs do",
        "receives        all files, whoever else receives: no consumer group is named, or a fresh",
        "service         sends from D:\\data \"new\" what appears in it to topic 'oxford_EBSD'",
        "chunk size      16384 bytes",
        "settings        of every client: ssl.ca.location = C:\\lab\\ca.pem",
        "settings        of senders: linger.ms = 100",
    ):
        assert line in done.stdout, done.stdout
    assert "line 8, [cluster] acks = 1 is not used: it must stay all" in done.stdout
    assert "hunter2" not in done.output


def test_check_says_so_when_little_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.config").write_text(
        "[broker]\nsasl.username=a\n[consumer]\ngroup.id=g\nbootstrap.servers=b:1\n[log]\n"
        "linger.ms=1\nssl.key.pem=hunter2\nssl.ca.pem=a\n b\n"
        "sasl.oauthbearer.token.endpoint.url=https://u:hunter2@h/\n"
    )
    done = run("check", tmp_path / "x.config")
    assert "brokers         to send none, to receive b:1" in done.stdout
    assert "connection      no encryption and no login" in done.stdout
    assert "login           as 'a' with no password\n" in done.stdout
    assert "receives        as one of the consumer group 'g'" in done.stdout
    assert "of logs: linger.ms = 1, ssl.key.pem is set, ssl.ca.pem is set, sasl" in done.stdout
    assert "hunter2" not in done.output


def test_check_tells_a_service_that_also_sends_what_is_there(tmp_path: Path) -> None:
    text = CONFIG.replace("chunk_size = 16384", "new_files_only = False")
    (tmp_path / "x.config").write_text(text)
    done = run("check", tmp_path / "x.config")
    assert "all that is in it or appears to topic" in done.stdout
    assert "chunk size" not in done.stdout


def test_check_takes_a_client_configuration(tmp_path: Path) -> None:
    (tmp_path / "c.properties").write_text("security.protocol=odd\nsasl.password=hunter2\n")
    done = run("check", tmp_path / "c.properties")
    assert done.exit_code == 0
    assert "brokers         none are named: --bootstrap-servers must say" in done.stdout
    assert "connection      odd" in done.stdout
    assert "hunter2" not in done.output


@pytest.mark.parametrize("text", ["[brokr]\n", "acks=1\n", "[broker]\nbootstrap.servers =\n"])
def test_check_of_a_wrong_file_ends_with_the_error_of_configurations(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "x.config").write_text(text)
    done = run("check", tmp_path / "x.config")
    assert isinstance(done.exception, OpenMSIError)
    assert done.exception.exit_code == 9
