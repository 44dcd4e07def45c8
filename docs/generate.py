"""Writes docs/reference.md from the code: python docs/generate.py

Whatever the code has and this does not know how to describe (a field of a JSON object, the reason
of a dead letter, what a new --json prints) is an error that names it.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer
from docs_text import (
    DIRECTORIES,
    FIELDS,
    INTRODUCTION,
    JSON_OBJECTS,
    MORE_EXIT_CODES,
    MORE_VARIABLES,
    REASONS,
)

import openmsi
from openmsi.cli import make_app
from openmsi.errors import OpenMSIError, RecordRejected
from openmsi.errors import __doc__ as error_tree
from openmsi.events import Event
from openmsi.kafka.settings import _PROTECTED
from openmsi.send.filters import DEFAULT_EXCLUDES

SOURCE = Path(openmsi.__path__[0])
REFERENCE = Path(__file__).with_name("reference.md")
# Programs, of which some need Windows.
_NOT_IMPORTED = {"openmsi.service.control", "openmsi.service.windows"}
_HIDDEN_OPTIONS = {"install_completion", "show_completion"}


class Undocumented(Exception):
    """The code has something that docs_text.py says nothing about, or the other way round."""


def reference() -> str:
    """The whole page."""
    root = typer.main.get_command(make_app())
    parts = [
        INTRODUCTION,
        "## Commands\n",
        *_commands(root),
        "## Exit codes\n",
        _exit_codes(),
        "## Environment variables\n",
        _variables(root),
        "## Files and directories\n",
        DIRECTORIES,
        "## Files that are left out\n",
        _excludes(),
        "## Client settings that cannot be changed\n",
        _protected(),
        "## JSON\n",
        *_json(root),
        "## Reasons of dead letters\n",
        _reasons(),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


# -- commands --------------------------------------------------------------------------------


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    for word, child in getattr(command, "commands", {}).items():
        full = f"{name} {word}"
        if getattr(child, "commands", None):
            yield from _leaves(child, full)
        else:
            yield full, child


def _commands(root: Any) -> Iterator[str]:
    yield "Every command also has `--help`. `openmsi --version` shows the version.\n"
    for name, command in _leaves(root, "openmsi"):
        text = "\n\n".join(_paragraphs(command.help or ""))
        if "Example: " not in text:
            raise Undocumented(f"`{name} --help` shows no example")
        yield f"### {name}\n"
        yield f"```text\n{name} {_usage(command)}\n```\n"
        yield re.sub(r"Example: (.*)", r"Example: `\1`", text) + "\n"
        rows = [_parameter(each) for each in command.params if each.name not in _HIDDEN_OPTIONS]
        yield _table(("Argument or option", "Default", "Meaning"), rows)


def _paragraphs(text: str) -> list[str]:
    return [" ".join(each.split()) for each in re.split(r"\n\s*\n", text.strip())]


def _usage(command: Any) -> str:
    arguments = [each for each in command.params if not _is_option(each)]
    words = [_value(each) if each.required else f"[{_value(each)}]" for each in arguments]
    return " ".join(["[OPTIONS]", *words])


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _value(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _parameter(parameter: Any) -> tuple[str, str, str]:
    name = f"`{_value(parameter)}`"
    if _is_option(parameter):
        value = "" if parameter.is_flag else f" {_value(parameter)}"
        name = ", ".join(f"`{each}{value}`" for each in parameter.opts)
    default = ""
    if parameter.required:
        default = "required"
    elif parameter.show_default and parameter.default not in (None, False, "", ()):
        default = f"`{parameter.default}`"
    text = parameter.help or ""
    if not text and _is_option(parameter):
        raise Undocumented(f"option {parameter.opts} has no help")
    if parameter.envvar:
        text += f" Environment: `{parameter.envvar}`."
    return name, default, text


# -- exit codes and environment --------------------------------------------------------------


def _exit_codes() -> str:
    lines = re.findall(r"(\w+) +(?:\(retry\??\) +)?(\d+|-)(?: {3,}(.+))?$", error_tree or "", re.M)
    told = {name: (code, meaning) for name, code, meaning in lines}
    codes: dict[int, list[str]] = {code: [text] for code, text in MORE_EXIT_CODES.items()}
    for error in _all_errors(OpenMSIError):
        if error is RecordRejected:
            continue
        code, meaning = told.get(error.__name__, ("", ""))
        if error.__module__ != OpenMSIError.__module__:
            continue  # a detail of one module, with the code of its base
        if code != str(error.exit_code):
            raise Undocumented(f"{error.__name__} is not in the tree of errors.py with its code")
        codes.setdefault(error.exit_code, []).append(meaning)
    rows = [(f"{code}", "; ".join(filter(None, texts))) for code, texts in sorted(codes.items())]
    return _table(("Code", "Meaning"), rows)


def _all_errors(error: type[OpenMSIError]) -> Iterator[type[OpenMSIError]]:
    for child in error.__subclasses__():
        yield child
        yield from _all_errors(child)


def _variables(root: Any) -> str:
    found: dict[str, str] = {}
    for _, command in _leaves(root, "openmsi"):
        for each in command.params:
            if each.envvar:
                found[each.envvar] = f"Stands for `{each.opts[0]}` where that is not given."
    rows = [(f"`{name}`", text) for name, text in sorted({**found, **MORE_VARIABLES}.items())]
    return _table(("Variable", "Meaning"), rows)


# -- lists in the code -----------------------------------------------------------------------


def _excludes() -> str:
    intro = (
        "`watch`, `upload`, `verify` and `demo` leave these out, in the whole tree. `--exclude`\n"
        "adds to them and, with `!` before a pattern, takes one back.\n\n"
    )
    return intro + "\n".join(f"- `{each}`" for each in DEFAULT_EXCLUDES) + "\n"


def _protected() -> str:
    rows = [
        (f"`{name}`", "never" if value is None else f"only `{str(value).lower()}`", why)
        for name, (value, why) in _PROTECTED.items()
    ]
    return _table(("Setting", "Can be given", "Because"), rows)


def _reasons() -> str:
    found: set[str] = set()
    pattern = r'(?:RecordRejected|Refused|Broken|_fail|_letter)\((?:[^"()]|\(\))*?"([a-z-]+)"'
    for file in SOURCE.rglob("*.py"):
        found.update(re.findall(pattern, file.read_text(encoding="utf-8")))
    _same("reasons of dead letters", found, REASONS)
    return _table(("Reason", "Meaning"), [(f"`{name}`", REASONS[name]) for name in sorted(found)])


# -- JSON ------------------------------------------------------------------------------------


def _json(root: Any) -> Iterator[str]:
    with_json = {
        name.removeprefix("openmsi ")
        for name, command in _leaves(root, "openmsi")
        if any("--json" in each.opts for each in command.params if _is_option(each))
    }
    _same("commands with --json", with_json, JSON_OBJECTS)
    structs = {each.__name__: each for each in _structs()}
    shown: dict[str, None] = {}
    yield (
        "With `--json`, standard output has nothing but JSON objects in UTF-8, one a line. Later\n"
        "versions may add objects and fields; programs should pass over those they do not know.\n"
        "Objects of programs that run on have a field `event`, which says what they are.\n"
    )
    rows = []
    for command, names in JSON_OBJECTS.items():
        shown.update(dict.fromkeys(names))
        rows.append((f"`openmsi {command}`", ", ".join(_link(structs[each]) for each in names)))
    yield _table(("Command", "Objects"), rows)
    if missing := {name for name, each in structs.items() if _is_event(each)} - shown.keys():
        raise Undocumented(f"no command is said to print {sorted(missing)}")
    used: set[str] = set()
    for name in shown:
        yield from _object(structs[name], used)
    if unused := FIELDS.keys() - used:
        raise Undocumented(f"docs_text.FIELDS describes what is not there: {sorted(unused)}")


def _structs() -> Iterator[type[msgspec.Struct]]:
    """All of the package's structs."""
    for module in pkgutil.walk_packages([str(SOURCE)], "openmsi."):
        if module.name not in _NOT_IMPORTED:
            for each in vars(importlib.import_module(module.name)).values():
                is_struct = isinstance(each, type) and issubclass(each, msgspec.Struct)
                if is_struct and each.__module__ == module.name:
                    yield each


def _is_event(struct: type[msgspec.Struct]) -> bool:
    return struct.__struct_config__.tag_field == "event" and struct is not Event


def _title(struct: type[msgspec.Struct]) -> str:
    tag = struct.__struct_config__.tag
    if tag is None:
        return f"{struct.__name__} object"
    return f"{tag}, {struct.__name__}" if tag == "summary" else str(tag)


def _link(struct: type[msgspec.Struct]) -> str:
    anchor = re.sub(r"[^a-z0-9 -]", "", _title(struct).lower()).replace(" ", "-")
    return f"[{_title(struct)}](#{anchor})"


def _object(struct: type[msgspec.Struct], used: set[str]) -> Iterator[str]:
    yield f"### {_title(struct)}\n"
    yield "\n\n".join(_paragraphs(struct.__doc__ or "")) + "\n"
    rows = []
    if struct.__struct_config__.tag is not None:
        rows.append(("`event`", "text", f"`{struct.__struct_config__.tag}`"))
    for field in msgspec.structs.fields(struct):
        key = f"{struct.__name__}.{field.name}"
        key = key if key in FIELDS else field.name
        if key not in FIELDS:
            raise Undocumented(f"docs_text.FIELDS says nothing of {struct.__name__}.{field.name}")
        used.add(key)
        meaning = FIELDS[key]
        if struct.__struct_config__.omit_defaults and field.default is not msgspec.NODEFAULT:
            meaning += f" Left out when it is `{msgspec.json.encode(field.default).decode()}`."
        rows.append((f"`{field.encode_name}`", _type(field.type), meaning))
    yield _table(("Field", "Type", "Meaning"), rows)


def _type(kind: Any) -> str:
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if kind in names:
        return names[kind]
    if kind is type(None):
        return "null"
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is typing.Literal:
        return "text"
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return " or ".join(_type(each) for each in inner)
    if typing.get_origin(kind) in (list, tuple):
        return f"list of {inner[0].__name__}"
    if typing.get_origin(kind) is dict:
        return f"object with {_type(inner[1])}s"
    raise Undocumented(f"no word for the type {kind}")


# -- text ------------------------------------------------------------------------------------


def _same(what: str, found: Iterable[str], told: Iterable[str]) -> None:
    found, told = set(found), set(told)
    if found != told:
        raise Undocumented(
            f"{what}: not in docs_text.py {sorted(found - told)}, not in the code "
            f"{sorted(told - found)}"
        )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(map(_cell, each))} |\n" for each in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
