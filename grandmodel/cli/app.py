"""The commands around releases: make one, look at them, move them between registries."""

from __future__ import annotations

import gc
import getpass
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from grandmodel.cli.canary import canary_app, evidence_of_canary
from grandmodel.cli.checkout import State, become, find_registry, open_registry
from grandmodel.cli.compliance import compliance_app
from grandmodel.cli.data import DateOrder, Zone, data_app
from grandmodel.cli.errors import REFUSED, OneSentence
from grandmodel.cli.ledger import ledger_app
from grandmodel.cli.show import Json, say, show_json, show_rows, warn, without
from grandmodel.cli.stress import show_stress
from grandmodel.cli.trials import evidence_over_all_trials, trials_app
from grandmodel.core.config import Profile
from grandmodel.core.errors import ConfigError

if TYPE_CHECKING:
    from grandmodel.registry.store import Registry

app = typer.Typer(
    cls=OneSentence,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="May this model trade, and can we prove why?",
)
app.add_typer(data_app, name="data")
app.add_typer(ledger_app, name="ledger")
app.add_typer(compliance_app, name="compliance")
app.add_typer(trials_app, name="trials")
app.add_typer(canary_app, name="canary")

EnvironmentName = Literal["dev", "staging", "canary", "production"]
RUN_KEYS = {"decision_hash", "against_champion", "champion", "champion_fitted_before"}  # a run alone can measure these
MEASURED_KEYS = RUN_KEYS | {"selection", "canary", "trials_head", "lost_runs", "manifest_sha256", "waivers"}
Actor = Annotated[str | None, typer.Option(help="Who asks; default: the name of the user.")]


@app.command()
def run(
    data: Annotated[Path | None, typer.Option(help="Folder or file of bars; default: the tracked data.")] = None,
    symbol: Annotated[list[str] | None, typer.Option(help="Instrument to use; repeat for several.")] = None,
    timezone: Zone = "auto",
    date_order: Annotated[DateOrder, typer.Option(help="Order of day and month, or auto.")] = "auto",
    profile: Annotated[Profile, typer.Option(help="quick: a look whose release stays in dev.")] = "full",
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler to train on; default: GRANDMODEL_DASK.")
    ] = None,
    auto_approve: Annotated[str, typer.Option(metavar="NAME", help="Who approves production.")] = "auto-approver",
    state: State = None,
) -> None:
    """Run the release flow in this process; no server is needed."""
    options = ["--timezone", timezone, "--date-order", date_order, "--profile", profile, "--auto-approve", auto_approve]
    if data is not None:
        options += ["--data", str(data.resolve())]
    if dask is not None:
        options += ["--dask", dask]
    if state is not None:
        options += ["--state", str(state.resolve())]
    for name in symbol or []:
        options += ["--symbol", name]
    become("flows.release", options)


@app.command()
def up(
    prefect_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Serve Prefect, the scheduled release and MLflow on loopback until Ctrl-C.

    The decision engine and the console are not part of this version.
    """
    if prefect_port == mlflow_port:
        raise typer.BadParameter(f"Prefect and MLflow need two ports; found {prefect_port} for both.")
    become("flows.up", ["--prefect-port", str(prefect_port), "--mlflow-port", str(mlflow_port)])


@app.command()
def sweep(
    trials: Annotated[int, typer.Option(min=1, help="How many more trials.")] = 20,
    team: Annotated[Literal["strategic", "tactical"], typer.Option(help="Whose learning parameters.")] = "strategic",
    workspace: Annotated[
        Path | None, typer.Option(help="Folder of a run with its features; default: artifacts/.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where studies are kept; default: runs/sweep/.")] = None,
) -> None:
    """Look for better learning parameters on the training span of the first fold alone; every trial is kept."""
    options = ["--trials", str(trials), "--team", team]
    for name, path in (("--workspace", workspace), ("--folder", folder)):
        if path is not None:
            options += [name, str(path.resolve())]
    become("pipelines.sweep", options)


@app.command()
def stress(
    model: Annotated[str, typer.Option(help="Registry or its URI, such as models:/canary.grandmodel@champion.")] = (
        "production"
    ),
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show the scenarios with which the champion of a registry was admitted, the dated ones too."""
    environment = model.removeprefix("models:/").removesuffix("@champion").removesuffix(".grandmodel")
    path = open_registry(state).load_champion(environment) / "stress.json"
    if not path.exists():
        raise ConfigError(
            str(path), "the release must hold its stress table", do="Make a release with `grandmodel run`"
        )
    show_stress(f"Stress of the champion of {environment}", json.loads(path.read_text()), as_json)


@app.command()
def status(state: State = None, as_json: Json = False) -> None:
    """Show what stands in the four registries, and which of their gates a person has waived."""
    registry = find_registry(state)
    rows = registry.status() if registry else []
    show_rows(
        "Registries", rows if as_json else without(rows, "waivers", "verified_at", "evidence", "public_key"), as_json
    )
    verified = [row["verified_at"] for row in rows if row["verified_at"]]
    if verified and not as_json:
        say(f"Bundles verified at {min(verified)[:19].replace('T', ' ')} UTC.")
    for sentence in dict.fromkeys(sentence for row in rows for sentence in row["waivers"] if not as_json):
        warn(f"WAIVED: {sentence}")


def _iso_time(text: str | None) -> str | None:
    try:
        datetime.fromisoformat(text or "2026-01-01")
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no ISO time such as 2026-03-03T14:30.") from error
    return text


@app.command()
def history(
    at: Annotated[str | None, typer.Option(callback=_iso_time, help="ISO time: show what stood where then.")] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show promotions, refusals, waivers and rollbacks, from the ledger; times without a zone are UTC."""
    registry = find_registry(state)
    rows = registry.history(at) if registry else []
    hidden = ("public_key",) if any(row.get("gate") for row in rows) else ("public_key", "gate")
    shown = rows if as_json else without(rows, *hidden)
    show_rows(f"Registries at {at}" if at else "History", shown, as_json)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Version in the registry before the target.")],
    to: Annotated[Literal["staging", "canary", "production"], typer.Option(help="Target registry.")],
    actor: Actor = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "promoted by hand",
    approver: Annotated[str | None, typer.Option(help="Who approves, where the target asks for it.")] = None,
    evidence: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="JSON of what was measured for this move.")
    ] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Move a version one registry on; exit 3 with the reasons when its conditions are not met.

    Before staging, gate G4 is judged anew over all trials that the trial ledger holds; before production, G8 over the
    record of the canary. How the packaged weights decide, and how they compare with the champion, is taken as the run
    measured it that made the release.
    """
    registry, shown = open_registry(state), _evidence(evidence)
    shown |= _measured_by_a_run(registry, to, version)
    if to == "staging":
        shown |= evidence_over_all_trials(registry, version, state)
    if to == "production":
        shown |= evidence_of_canary(registry, version, state)
    outcome = registry.promote(to, version, actor=_named(actor), reason=reason, evidence=shown, approver=approver)
    if as_json:
        show_json(vars(outcome))
    elif outcome.accepted:
        verb = "is now" if outcome.changed else "already was"
        say(f"Release {outcome.release_id} {verb} the champion of {to}, version {outcome.version}.")
    else:
        say(f"Release {outcome.release_id} is refused in {to}: {'; '.join(outcome.reasons)}.")
    if not outcome.accepted:
        raise typer.Exit(REFUSED)


@app.command()
def waive(
    gate: Annotated[str, typer.Argument(help="Gate that refused, such as g3_seeds.")],
    release: Annotated[str, typer.Option(help="Release that it refused.")],
    by: Annotated[str, typer.Option(help="Who answers for it: a person other than the author.")],
    reason: Annotated[str, typer.Option(help="Why; the report shows it.")],
    until: Annotated[str | None, typer.Option(help="Last day on which it holds, such as 2026-12-31.")] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Let one refused verdict on one release pass, by name and with a reason, as a line of the ledger.

    Gates g0_data and g1_leakage cannot be waived. The next run, or `grandmodel promote`, takes the release on.
    """
    from grandmodel.core.clock import system_clock
    from grandmodel.registry.waivers import waive as write_waiver

    registry = open_registry(state)
    lines = write_waiver(registry, gate, release, by=by, reason=reason, until=until, now=system_clock())
    waivers = registry.waivers(release)[-len(lines) :]
    if as_json:
        show_json([vars(waiver) for waiver in waivers])
        return
    for waiver in waivers:
        warn(f"WAIVED: {waiver.sentence(system_clock())} (verdict {waiver.verdict_sha256[:12]})")


@app.command()
def rollback(
    environment: Annotated[EnvironmentName, typer.Argument(help="Registry.")],
    to: Annotated[str | None, typer.Option(help="Version; default: the champion before the present one.")] = None,
    expect: Annotated[
        str | None, typer.Option(metavar="VERSION|RELEASE", help="Champion to leave; a repeat goes no further back.")
    ] = None,
    actor: Actor = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "rolled back by hand",
    state: State = None,
    as_json: Json = False,
) -> None:
    """Make an earlier champion of a registry the champion again.

    Without --to each call goes one back from what stands there, unless --expect names what is to be left.
    """
    outcome = open_registry(state).rollback(environment, to, actor=_named(actor), reason=reason, expect=expect)
    if as_json:
        show_json(vars(outcome))
        return
    verb = "is again" if outcome.changed else "already was"
    left = f"; version {outcome.left} was left" if outcome.left else ""
    say(f"Release {outcome.release_id} {verb} the champion of {environment}, version {outcome.version}{left}.")


@app.command()
def abandon(
    environment: Annotated[EnvironmentName, typer.Argument(help="Registry.")],
    reason: Annotated[str, typer.Option(help="Why it cannot be finished.")],
    actor: Actor = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Take back a move that was begun and can never be finished, so that its registry can move again.

    A move that a kill left open is finished by the next command by itself; this is for when that fails for good, such
    as after a version was deleted in MLflow.
    """
    done = open_registry(state).abandon(environment, actor=_named(actor), reason=reason)
    if as_json:
        show_json(done)
    else:
        say("\n".join(done) or f"No move into {environment} is open.")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where the files go; those of the same names are replaced.")],
    environment: Annotated[EnvironmentName, typer.Option(help="Registry whose champion is exported.")] = "production",
    state: State = None,
    as_json: Json = False,
) -> None:
    """Write the champion's actors: the serving form of each team, and one ONNX model an agent."""
    from grandmodel.market.onnx_export import export_onnx
    from grandmodel.market.policy import TeamPolicy

    paths = []
    for served in sorted(open_registry(state).load_champion(environment).glob("*.safetensors")):
        policy = TeamPolicy.load(served)
        policy.save(folder / served.name)
        paths += [folder / served.name, *export_onnx(policy, folder)]
    show_rows(f"Champion of {environment}", [{"file": str(path)} for path in paths], as_json)


def _named(actor: str | None) -> str:
    return actor if actor is not None else getpass.getuser()


def _measured_by_a_run(registry: Registry, to: str, version: str) -> dict[str, Any]:
    """Return what was measured when the release last stood before ``to``; empty where it never did."""
    from grandmodel.registry.conditions import environment_before

    release_id = registry.bundle_of(environment_before(to), version).release_id
    shown = registry.shown_before(to, release_id)
    return {key: shown[key] for key in sorted(RUN_KEYS & shown.keys())}


def _evidence(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(str(path), "the evidence must be JSON", str(error)) from error
    if not isinstance(content, dict):
        raise ConfigError(str(path), "the evidence must be a JSON object", content)
    taken = sorted(MEASURED_KEYS & content.keys())
    if taken:
        raise ConfigError(str(path), "these keys are measured and cannot be given", taken, "Leave them out")
    return content


def main() -> None:
    """Run the command line."""
    try:
        app()
    finally:  # collecting the object graphs of MLflow and Great Expectations at exit costs more than a second
        gc.disable()
        gc.freeze()
