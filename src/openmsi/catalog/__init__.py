"""What is in a topic, and one file out of it."""

from openmsi.catalog.content import Place, digest_in_topic
from openmsi.catalog.listing import current_versions

__all__ = ["Place", "current_versions", "digest_in_topic"]
