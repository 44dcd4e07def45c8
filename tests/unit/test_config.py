"""The client configuration file: values are the text that stands there; a bad line is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmsi.config import read_client_config
from openmsi.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "client.properties"


def test_lines_become_settings(file: Path) -> None:
    file.write_text("# login\n\n  security.protocol = SSL  \nsasl.username=me\n")
    assert read_client_config(file) == {"security.protocol": "SSL", "sasl.username": "me"}


@pytest.mark.parametrize(
    "value", ["00123456", "100%", "%(x)s", "a=b=c", "#no comment", "$HOME", "'quoted'", "a b", ""]
)
def test_a_value_is_the_text_that_stands_there(file: Path, value: str) -> None:
    file.write_text(f"sasl.password={value}\n")
    assert read_client_config(file) == {"sasl.password": value}


text = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\ufeff")
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.from_regex(r"[a-z]{1,9}(\.[a-z]{1,9}){0,2}", fullmatch=True), text))
def test_whatever_is_written_is_read(file: Path, wanted: dict[str, str]) -> None:
    lines = [f"{name}={value}" for name, value in wanted.items()]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert read_client_config(file) == {name: value.strip() for name, value in wanted.items()}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_file_that_windows_wrote_is_read(file: Path, bom: bytes, end: bytes) -> None:
    file.write_bytes(bom + end.join([b"a=1", b"b=2", b""]))
    assert read_client_config(file) == {"a": "1", "b": "2"}


def test_the_last_of_two_lines_with_one_name_counts(file: Path) -> None:
    file.write_text("a=1\na=2\n")
    assert read_client_config(file) == {"a": "2"}


@pytest.mark.parametrize("line", ["no equals sign", "=value without a name", "  = ", "[section]"])
def test_a_line_that_is_no_setting_is_named_with_its_number(file: Path, line: str) -> None:
    file.write_text(f"a=1\n\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        read_client_config(file)
    assert caught.value.what == f"{file}, line 3"
    assert "NAME=VALUE" in caught.value.why and caught.value.cure


def test_a_bad_line_that_may_be_a_password_is_not_shown(file: Path) -> None:
    file.write_text("hunter2\n")
    with pytest.raises(ConfigError) as caught:
        read_client_config(file)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_client_config(file)
    with pytest.raises(ConfigError, match=str(file.parent.name)):
        read_client_config(file.parent)
    file.write_bytes(b"a=\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_client_config(file)
