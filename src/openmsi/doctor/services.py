"""Is the service installed, does it run, and why did it end last?"""

from __future__ import annotations

from collections.abc import Iterator

from openmsi.agent import AgentStatus, read_status
from openmsi.agent.status import RESTARTING, WAITING
from openmsi.doctor.finding import Finding
from openmsi.errors import OpenMSIError
from openmsi.service.manager import DEFAULT_NAME, ServiceStatus, service_manager


def examine_service(name: str, config: str) -> Iterator[Finding]:
    """The service `name`, of the machine or else of this user.

    Args:
        config: the agent.toml that could be installed, for the cure.
    """
    problem = ""
    for user in (False, True):
        try:
            manager = service_manager(name, user=user)
            status = manager.status()
        except OpenMSIError as error:
            problem = problem or error.why
            continue
        if status.installed:
            yield from judge_service(status, read_status(*manager.files()), user)
            return
    if problem:
        text = f"it cannot be told here ({problem})"
        yield Finding("service", name, "unknown", " ".join(text.split()))
    else:
        more = "" if name == DEFAULT_NAME else f" --name {name}"
        how = f"openmsi service install --config {config or 'agent.toml'}{more}"
        text = f"not installed: nothing starts with this computer. To change that: {how}"
        yield Finding("service", name, "ok", text)


def judge_service(
    status: ServiceStatus, agent: AgentStatus | None, user: bool
) -> Iterator[Finding]:
    """How an installed service is, and its agent if that may be known."""
    which = f"{'' if status.name == DEFAULT_NAME else f' --name {status.name}'}"
    which += " --user" if user else ""
    logs = f"Its last words: openmsi service logs{which}"
    ended = f"; it ended last with: {status.failure}" if status.failure else ""
    since = f" since {status.since}" if status.since else ""
    text = f"{status.state}{since}{ended}"
    if not status.running:
        cure = f"Start it: openmsi service start{which}. {logs}"
        yield Finding("service", status.name, "wrong", f"it does not run: {text}", cure)
    elif ended or status.restarts:
        again = f", {status.restarts} restarts after a crash" if status.restarts else ""
        yield Finding("service", status.name, "warning", f"it runs: {text}{again}", logs)
    else:
        yield Finding("service", status.name, "ok", f"it runs: {text}")
    if not status.from_boot:
        text, cure = "it does not start with this computer", "Install it again."
        yield Finding("service", status.name, "warning", text, cure)
    if agent is None or not agent.agent:
        return
    if agent.problem:
        yield Finding("service", status.name, "wrong", agent.problem, "Correct it, and reload.")
    for part in agent.parts:
        if part.state in (WAITING, RESTARTING):
            text = " ".join(f"{part.part} is {part.state}: {part.reason}".split())
            yield Finding("service", status.name, "wrong", text, logs)
