"""openmsi: streams the files of laboratory instruments through Apache Kafka."""

__version__ = "0.1.0"
