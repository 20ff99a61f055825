"""The catch-up policy: a scheduled run that comes later than one bar is skipped, because another is due anyway."""

from __future__ import annotations

from datetime import datetime, timedelta

from prefect.context import FlowRunContext

from grandmodel.core.clock import system_clock
from grandmodel.data.cleaning.resample import STRATEGIC_MINUTES


def too_late() -> str:
    """Return why the present run is skipped; "" where it is not: it is in time, or a person asked for it."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not run.auto_scheduled or run.expected_start_time is None:
        return ""
    return late_sentence(run.expected_start_time, system_clock())


def late_sentence(due: datetime, now: datetime) -> str:
    """Return why a run due at ``due`` is skipped at ``now``; "" up to one bar of 30 minutes later."""
    late = now - due
    if late <= timedelta(minutes=STRATEGIC_MINUTES):
        return ""
    minutes = f"{late.total_seconds() / 60:.0f}"
    rule = f"more than one bar of {STRATEGIC_MINUTES} minutes"
    return f"Skipped: due at {due:%Y-%m-%d %H:%M} UTC, it is {minutes} minutes late, {rule}; run it by hand if needed."
