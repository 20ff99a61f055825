"""The exported policy decides as the actors it was exported from."""

import numpy as np
import torch

from grandmodel.core.config import TeamParams
from grandmodel.core.random import random_stream
from grandmodel.market.policy import TeamPolicy, random_policy
from grandmodel.marl.networks import forward
from models.strategic.agents import strategic_team
from models.tactical.agents import tactical_team


def test_torch_and_kernel_agree() -> None:
    worst, different, seen = 0.0, 0, 0
    for team in (strategic_team(TeamParams()), tactical_team(TeamParams())):
        policy: TeamPolicy = random_policy(team, 64, random_stream(1, team.name))
        weights = [torch.from_numpy(np.array(policy.weights[f"actor.{i}.weight"])) for i in range(3)]
        biases = [torch.from_numpy(np.array(policy.weights[f"actor.{i}.bias"])) for i in range(3)]
        seen_by = (
            random_stream(2, team.name).normal(size=(len(team.agents), 2000, team.observation_size)).astype(np.float32)
        )
        for agent, size in enumerate(team.observation_sizes):
            seen_by[agent, :, size:] = 0.0
        logits = forward((weights, biases), torch.from_numpy(seen_by)).numpy()
        for agent, count in enumerate(team.action_counts):
            shown = torch.softmax(torch.from_numpy(logits[agent, :, :count]), dim=1).numpy()
            ours = np.stack([policy.probabilities(row, agent) for row in seen_by[agent]])
            worst = max(worst, float(np.abs(shown - ours).max()))
            different += int((shown.argmax(1) != ours.argmax(1)).sum())
            seen += len(ours)
    print(f"probabilities differ by at most {worst:.2g}; {different} of {seen} greedy decisions differ")
    assert seen == 14_000
    assert worst < 1e-5
    assert different == 0
