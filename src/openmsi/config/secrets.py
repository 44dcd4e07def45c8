"""Where a password may be instead of in a configuration file."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from openmsi.errors import ConfigError

KEYRING_SERVICE = "openmsi"
WAYS = ("file", "keyring")


def read_secret(reference: Mapping[str, object], where: str, folder: Path) -> str:
    """The text that `{ file = "PATH" }` or `{ keyring = "NAME" }` stands for.

    A path is relative to `folder`. A keyring's entry is that of the service "openmsi" and NAME.
    `where` names the setting in messages; what is in the file or the keyring is never shown.

    Raises:
        ConfigError: there is no such secret, or others could read it.
    """
    cure = 'Write { file = "PATH" } or { keyring = "NAME" }.'
    if len(reference) != 1 or not set(reference) <= set(WAYS):
        raise ConfigError(where, "a table is here that is no reference to a secret", cure)
    ((way, name),) = reference.items()
    if not isinstance(name, str) or not name:
        raise ConfigError(where, f"{way} must name one as text", cure)
    return _from_keyring(name, where) if way == "keyring" else _from_file(folder / name, where)


def _from_file(path: Path, where: str) -> str:
    try:
        others = others_may(path)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        why = f"the file {path} cannot be read: {error.strerror or error}"
        cure = "Name a file that the user who runs openmsi may read."
        raise ConfigError(where, why, cure) from None
    except UnicodeDecodeError:
        raise ConfigError(where, f"the file {path} is not UTF-8 text", "Save it so.") from None
    if others:
        raise ConfigError(where, f"others may {others} {path}", f"Run: chmod 600 {path}")
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ConfigError(where, f"the file {path} is empty", "Write the secret into it.")
    return secret


def others_may(path: Path) -> str:
    """What users outside the file's group may do with it, or the group beyond reading; empty for
    nothing. Windows has no such rights in this form: there it is always empty.

    Raises:
        OSError: it cannot be looked at.
    """
    if os.name != "posix":
        return ""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & stat.S_IROTH:
        return "read"
    return "write" if mode & (stat.S_IWGRP | stat.S_IWOTH) else ""


def _from_keyring(name: str, where: str) -> str:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        why = "the package keyring is not installed"
        raise ConfigError(where, why, 'Run: pip install "openmsi[keyring]"') from None
    try:
        secret = keyring.get_password(KEYRING_SERVICE, name)
    except KeyringError as error:
        cure = 'Use { file = "PATH" } where nobody is logged in.'
        raise ConfigError(where, f"the keyring does not answer: {error}", cure) from None
    if not secret:
        why = f"the keyring has no {name!r} of the service {KEYRING_SERVICE!r}"
        raise ConfigError(where, why, f"Run: keyring set {KEYRING_SERVICE} {name}")
    return secret
