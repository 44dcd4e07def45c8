"""Configuration files: how they are found, what a line may be, what the environment gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from openmsi.config import find_config, load_settings
from openmsi.config.ini import Entry, expand, is_ini, parse_ini
from openmsi.config.keys import CLIENT_KEYS, is_secret, nearest
from openmsi.errors import ConfigError


def entry(text: str, key: str = "bootstrap.servers") -> Entry:
    return Entry("x.config", 7, "broker", key, text)


def assert_wrong(error: pytest.ExceptionInfo[ConfigError], *parts: str) -> None:
    for part in parts:
        assert part in str(error.value), f"{part!r} is not in {str(error.value)!r}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- one NAME=VALUE a line ---------------------------------------------------------------------


def test_a_client_configuration_is_taken_literally(here: Path) -> None:
    (here / "c.txt").write_text("\ufeff# ours\n\n a = 00%12$x = y \nsasl.password=p#;w\n", "utf-8")
    assert load_settings(here / "c.txt").sending() == {"a": "00%12$x = y", "sasl.password": "p#;w"}


@pytest.mark.parametrize("line", ["no equals", "=value", "[broker]"])
def test_a_line_that_is_no_setting_is_named(here: Path, line: str) -> None:
    (here / "c.txt").write_text(f"a=b\n{line}\n")
    with pytest.raises(ConfigError) as error:
        load_settings(here / "c.txt")
    assert_wrong(error, "c.txt, line 2", "NAME=VALUE")


def test_a_client_configuration_is_accepted_where_config_files_are(here: Path) -> None:
    (here / "client.properties").write_text("bootstrap.servers=k:9092\nacks=1\n")
    settings = load_settings("client.properties", {})
    assert settings.sending() == {"bootstrap.servers": "k:9092", "acks": "1"}
    assert settings.format is None


def test_a_file_that_is_no_text_is_named(here: Path) -> None:
    (here / "c.config").write_bytes(b"[broker]\nclient.id=\xfcber\n")
    with pytest.raises(ConfigError) as error:
        load_settings("c.config")
    assert_wrong(error, "c.config", "UTF-8")


def test_a_file_that_cannot_be_read_is_named(here: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_settings(here / "none.txt")
    assert_wrong(error, "none.txt", "no such file")


# -- names -------------------------------------------------------------------------------------


def test_a_name_without_a_dot_gets_config_added(here: Path) -> None:
    (here / "lab.config").write_text("[broker]\n")
    assert find_config("lab", {}).path == Path("lab.config")
    assert find_config(here / "lab", {}).path == here / "lab.config"


def test_a_file_here_comes_before_a_named_configuration(here: Path) -> None:
    (here / "prod.config").write_text("[broker]\n")
    assert find_config("prod", {}).path == Path("prod.config")


def test_directories_of_ones_own_are_looked_into_in_order(here: Path) -> None:
    for name in ("ours", "theirs"):
        (here / name).mkdir()
        (here / name / "lab.config").write_text(f"[broker]\nclient.id = {name}\n")
    theirs = {"OPENMSISTREAM_CONFIG_FILE_DIR": str(here / "theirs")}
    ours = {"OPENMSI_CONFIG_DIR": str(here / "ours")}
    assert load_settings("lab", theirs).broker == {"client.id": "theirs"}
    assert load_settings("lab.config", theirs | ours).broker == {"client.id": "ours"}


def test_a_named_configuration_in_a_directory_comes_before_the_built_in_one(here: Path) -> None:
    (here / "d").mkdir()
    (here / "d" / "prod.config").write_text("[broker]\n")
    assert find_config("prod", {"OPENMSI_CONFIG_DIR": "d"}).path == Path("d/prod.config")


@pytest.mark.parametrize("name", ["prod", "prod.config"])
def test_prod_is_built_in(here: Path, name: str) -> None:
    assert find_config(name, {}).shown == "prod (built in)"


def test_a_file_without_a_dot_is_found_at_last(here: Path) -> None:
    (here / "client").write_text("client.id=a\n")
    assert load_settings("client", {}).broker == {"client.id": "a"}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("prd", ["prd", "no configuration has this name", "'prod'"]),
        ("lap", ["Did you mean 'lab'?"]),
        ("zzzzzz", ["Known names: lab, prod, test."]),
        ("d/lap", ["d/lap.config", "no such file", "'lab.config'"]),
        ("nowhere/x.config", ["nowhere/x.config", "no such file"]),
        ("d", ["d", "is a directory"]),
        ("", ["is a directory"]),
    ],
)
def test_what_is_not_there_is_said_with_the_nearest(
    here: Path, name: str, parts: list[str]
) -> None:
    (here / "d").mkdir()
    (here / "d" / "lab.config").write_text("[broker]\n")
    with pytest.raises(ConfigError) as error:
        find_config(name, {"OPENMSI_CONFIG_DIR": str(here / "d")})
    assert_wrong(error, *parts)


# -- lines of an INI file ----------------------------------------------------------------------


def test_lines_are_remembered_and_keys_are_lower_case() -> None:
    text = "# c\n[Broker]\n\n; c\nBootstrap.Servers : a:1\n  ,b:2\nclient.id=x = y\n[log]\n"
    sections = parse_ini(text, "f")
    assert sections["Broker"].line == 2
    assert sections["Broker"].entries == {
        "bootstrap.servers": Entry("f", 5, "Broker", "bootstrap.servers", "a:1\n,b:2"),
        "client.id": Entry("f", 7, "Broker", "client.id", "x = y"),
    }
    assert sections["log"].line == 8


def test_default_is_a_section_like_any_other() -> None:
    sections = parse_ini("[DEFAULT]\na=1\n[broker]\nb=2\n", "f")
    assert list(sections["broker"].entries) == ["b"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a = 1\n[broker]\n", ["f, line 1", "before the first section"]),
        ("[broker]\nsasl.password hunter2\n", ["f, line 2", "not KEY = VALUE"]),
        ("[broker]\na=1\nA=hunter2\n", ["f, line 3, [broker] a", "set above"]),
        ("[broker]\n[log]\n[broker]\n", ["f, line 3, [broker]", "begun above"]),
    ],
)
def test_a_line_that_has_no_place_is_named_without_what_it_says(
    text: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        parse_ini(text, "f")
    assert_wrong(error, *parts)
    assert "hunter2" not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[a]", True), ("\n# c\n; d\n  [a]", True), ("a=b\n[a]", False), ("", False)],
)
def test_an_ini_file_begins_with_a_section(text: str, expected: bool) -> None:
    assert is_ini(text) is expected


# -- the environment ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$HH", "host"),
        ("$HH:9092", "host:9092"),
        ("${HH}x", "hostx"),
        ("$HH,$HH", "host,host"),
        ("$$HH", "$host"),
        ("$EMPTY", ""),
        ("pre$HH", "pre$HH"),
        ("%HH%", "%HH%"),
        ("00%12$x", "00%12$x"),
        ("", ""),
    ],
)
def test_only_a_value_that_begins_with_a_dollar_is_expanded(text: str, expected: str) -> None:
    assert expand(entry(text), {"HH": "host", "EMPTY": "", "x": "wrong"}) == expected


@pytest.mark.parametrize("text", ["$UNSET", "${UNSET}", "$HH$UNSET"])
def test_a_variable_that_is_not_set_is_named(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        expand(entry(text), {"HH": "host"})
    assert_wrong(error, "x.config, line 7, [broker] bootstrap.servers", "variable UNSET is not set")


@pytest.mark.parametrize("text", ["$", "$ x", "$!"])
def test_a_dollar_without_a_name_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="no environment variable is named"):
        expand(entry(text), {})


def test_a_password_that_begins_with_a_dollar_is_not_shown() -> None:
    with pytest.raises(ConfigError) as error:
        expand(entry("$ecret5", "sasl.password"), {})
    assert_wrong(error, "sasl.password", "must come from a variable")
    assert "ecret5" not in str(error.value)


def test_the_variable_of_a_password_is_named() -> None:
    with pytest.raises(ConfigError, match="variable KAFKA_PASSWORD is not set"):
        expand(entry("$KAFKA_PASSWORD", "sasl.password"), {})


# -- keys --------------------------------------------------------------------------------------


def test_the_client_knows_every_key() -> None:
    unknown = []
    for key in sorted(CLIENT_KEYS):
        # A TypeError: the setting is known, and takes no text.
        with pytest.raises((KafkaException, TypeError)) as error:
            Producer({key: "1", "no.such.setting": "1"})
        if f'property: "{key}"' in str(error.value):
            unknown.append(key)
    assert not unknown


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sasl.password", True),
        ("ssl.key.password", True),
        ("ssl.key.pem", True),
        ("ssl.keystore.password", True),
        ("sasl.oauthbearer.client.secret", True),
        ("sasl.oauthbearer.config", True),
        ("sasl.oauthbearer.assertion.private.key.passphrase", True),
        ("sasl.oauthbearer.assertion.private.key.pem", True),
        ("sasl.username", False),
        ("ssl.key.location", False),
        ("ssl.ca.pem", False),
        ("key.serializer", False),
        ("sasl.oauthbearer.token.endpoint.url", False),
    ],
)
def test_secrets_are_known(key: str, expected: bool) -> None:
    assert is_secret(key) is expected


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert nearest("stringserialiser", ["StringSerializer"]) == "Did you mean 'StringSerializer'?"
    assert nearest("zzz", ["StringSerializer"]) == ""
