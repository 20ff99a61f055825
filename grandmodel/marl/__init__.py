"""The learner: multi-agent proximal policy optimisation (MAPPO) on any vectorised environment with discrete actions."""

from grandmodel.marl.checkpoint import load_team, save_team
from grandmodel.marl.environment import Step, StepResult, VectorEnvironment
from grandmodel.marl.mappo import TrainedTeam, train, train_vectorised

__all__ = [
    "Step",
    "StepResult",
    "TrainedTeam",
    "VectorEnvironment",
    "load_team",
    "save_team",
    "train",
    "train_vectorised",
]
