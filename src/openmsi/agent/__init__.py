"""Runs all parts of an agent.toml in one program, for as long as it is not told to stop."""

from openmsi.agent.agent import Agent
from openmsi.agent.part import Counts, Task, Worker
from openmsi.agent.status import AgentStatus, PartStatus, read_status

__all__ = ["Agent", "AgentStatus", "Counts", "PartStatus", "Task", "Worker", "read_status"]
