"""Configuration files -> validated settings."""

from openmsi.config.agent import read_agent
from openmsi.config.agent_settings import AgentSettings, Download, Heartbeat, Part, Watch
from openmsi.config.agent_toml import to_agent_toml
from openmsi.config.find import BUILT_IN, DIRECTORIES, find_config
from openmsi.config.keys import FRESH_GROUPS, is_secret
from openmsi.config.legacy import load, load_settings, read_legacy_config
from openmsi.config.settings import ClientSettings, DirectoryStream, LegacyConfig

__all__ = [
    "BUILT_IN",
    "DIRECTORIES",
    "FRESH_GROUPS",
    "AgentSettings",
    "ClientSettings",
    "DirectoryStream",
    "Download",
    "Heartbeat",
    "LegacyConfig",
    "Part",
    "Watch",
    "find_config",
    "is_secret",
    "load",
    "load_settings",
    "read_agent",
    "read_legacy_config",
    "to_agent_toml",
]
