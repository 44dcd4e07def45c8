"""Can this work here? Brokers, topics, directories and the service; nothing is changed."""

from openmsi.doctor.case import Case, FileUse, TopicUse, case_of
from openmsi.doctor.examine import examine
from openmsi.doctor.finding import Finding, State

__all__ = ["Case", "FileUse", "Finding", "State", "TopicUse", "case_of", "examine"]
