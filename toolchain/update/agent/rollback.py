"""Going back by hand to the release in the other slot."""

from ..refusal import Code, Refusal
from .agent import Agent
from .health import Verdict
from .held import held
from .journal import Mark, Transaction
from .recover import settle
from .state import State, name
from .trial import attempt


def rollback(agent: Agent) -> tuple[State, Verdict]:
    """Run the release in the other slot; the present one does not come back by itself.

    Returns:
        What is installed now, and what the health hook said of it.

    Raises:
        Refusal: There is none, it must not run any more, is damaged, or fails its trial; what
            was installed runs on.
    """
    with held(agent):
        state = settle(agent).state
        slot, installed = state.spare, state.installed
        target = state.slots.get(slot)
        if installed is None or target is None:
            message = "there is no release to go back to"
            raise Refusal(Code.STATE, message, "publish an older one again with a higher seq")
        if target.sec_epoch < state.sec_epoch:
            message = (
                f"{name(target)} has sec_epoch {target.sec_epoch}, this device does not run any "
                f"before {state.sec_epoch}"
            )
            raise Refusal(Code.ROLLBACK, message, "publish a release without the fault")
        agent.slots.check(slot, target.release)
        transaction = Transaction(slot, state.current, target, rejects=installed.release)
        agent.journal.begin(Mark.TRIAL, transaction)
        state, verdict = attempt(agent, state, transaction)
        if not verdict.passed:
            message = f"{name(target)} failed its trial: {verdict.text}"
            raise Refusal(Code.HEALTH, message, "neither release works: look at the device")
        return state, verdict
