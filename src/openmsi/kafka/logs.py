"""Where librdkafka's own log lines go: Python logging, under the name `openmsi.librdkafka`."""

from __future__ import annotations

import logging

logger = logging.getLogger("openmsi.librdkafka")
# Without any handler Python would print warnings to stderr, in the middle of a progress bar.
logger.addHandler(logging.NullHandler())
