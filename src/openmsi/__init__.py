"""openmsi: streams the files of laboratory instruments through Apache Kafka."""

import logging

__version__ = "0.1.0"

# What the package logs is for whoever sets up logging; a message to a user is an event or an error.
logging.getLogger(__name__).addHandler(logging.NullHandler())
