"""Where a service of Windows keeps what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True, slots=True)
class WindowsPlaces:
    """The files of the service `name`, all below ProgramData."""

    name: str

    @property
    def home(self) -> Path:
        # As Windows tells it: a service's environment may say something else.
        return platformdirs.site_data_path("openmsi", appauthor=False) / self.name

    @property
    def config(self) -> Path:
        return self.home / "agent.toml"

    @property
    def variables(self) -> Path:
        """Values of the variables that the configuration refers to, as JSON."""
        return self.home / "variables.json"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def log(self) -> Path:
        return self.logs / "agent.log"

    @property
    def crash_log(self) -> Path:
        """What the agent says on standard error when it cannot even write a log."""
        return self.logs / "crash.log"
