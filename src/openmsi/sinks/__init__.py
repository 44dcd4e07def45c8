"""Complete files -> their destination."""

from openmsi.sinks.directory import DirectorySink

__all__ = ["DirectorySink"]
