"""Configuration files -> validated settings."""

from openmsi.config.agent_toml import to_agent_toml
from openmsi.config.find import BUILT_IN, DIRECTORIES, find_config
from openmsi.config.keys import FRESH_GROUPS, is_secret
from openmsi.config.legacy import load, load_settings, read_legacy_config
from openmsi.config.properties import read_client_config
from openmsi.config.settings import ClientSettings, DirectoryStream, LegacyConfig

__all__ = [
    "BUILT_IN",
    "DIRECTORIES",
    "FRESH_GROUPS",
    "ClientSettings",
    "DirectoryStream",
    "LegacyConfig",
    "find_config",
    "is_secret",
    "load",
    "load_settings",
    "read_client_config",
    "read_legacy_config",
    "to_agent_toml",
]
