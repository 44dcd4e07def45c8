"""What the doctor says of one thing."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "warning", "wrong", "unknown"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. A `warning` is no reason to fail, but one to read it; with
    `unknown` there is no harmless way to find out."""

    check: str
    about: str
    state: State
    text: str
    cure: str = ""
