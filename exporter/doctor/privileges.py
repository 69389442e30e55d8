"""By what an agent can let go of privileges here, and what a running one has in force
(docs/privileges.md)."""

from exporter.doctor.line import Line
from exporter.doctor.machine import Machine

SUBJECT = "privileges"
_ACTIONS = "sys/kernel/seccomp/actions_avail"


def check(machine: Machine) -> Line:
    if not machine.wants.drop:
        return Line(SUBJECT, "ok", "all are kept: privileges.drop is false")
    abi, actions = machine.answers.landlock, machine.text(_ACTIONS)
    if abi is None:
        return Line(SUBJECT, "unknown", "whether there is Landlock is not told here")
    offered = [f"Landlock (ABI {abi})"] if abi else []
    offered += ["seccomp filters"] if actions and "errno" in actions.split() else []
    found = " and ".join(offered) or "neither Landlock nor seccomp filters"
    agent = machine.answers.agent
    if agent is not None:
        lacking = " ".join(name for name, on in sorted(agent.items()) if not on)
        if lacking:
            found += f"; not in force in the running agent: {lacking}"
            return Line(SUBJECT, "degraded", found, "its page says why")
        found += "; the running agent has all in force"
    if abi and len(offered) == 2:
        return Line(SUBJECT, "ok", found)
    mend = "boot with landlock in lsm= (kernel 5.13, CONFIG_SECURITY_LANDLOCK)"
    if abi:
        mend = "a kernel with CONFIG_SECCOMP_FILTER"
    return Line(SUBJECT, "degraded", found, mend)
