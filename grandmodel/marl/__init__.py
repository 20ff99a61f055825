"""The learner: multi-agent proximal policy optimisation (MAPPO) on any vectorised environment with discrete actions."""

from grandmodel.marl.checkpoint import Checkpoint, load_team, save_team
from grandmodel.marl.curves import CurveLog
from grandmodel.marl.environment import SavableEnvironment, Step, StepResult, VectorEnvironment
from grandmodel.marl.mappo import TrainedTeam, train, train_vectorised

__all__ = [
    "Checkpoint",
    "CurveLog",
    "SavableEnvironment",
    "Step",
    "StepResult",
    "TrainedTeam",
    "VectorEnvironment",
    "load_team",
    "save_team",
    "train",
    "train_vectorised",
]
