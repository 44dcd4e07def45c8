"""Where librdkafka's own log lines go: Python logging, under the name `openmsi.librdkafka`."""

from __future__ import annotations

import logging


def _is_news(line: logging.LogRecord) -> bool:
    # One set of settings serves producers and consumers: each would warn of the other's.
    return "property and will be ignored by this" not in line.getMessage()


logger = logging.getLogger("openmsi.librdkafka")
logger.addFilter(_is_news)
# Without any handler Python would print warnings to stderr, in the middle of a progress bar.
logger.addHandler(logging.NullHandler())
