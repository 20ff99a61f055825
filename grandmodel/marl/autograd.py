"""The update by automatic differentiation: the text to read, the path on a GPU, and the twin of ``fused``."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grandmodel.core.config import TeamParams
from grandmodel.marl.networks import Stack, action_mask, forward, split
from grandmodel.marl.rollout import Batch

STATISTICS = ("policy_loss", "value_loss", "entropy", "kl", "clip_frac")


class AutogradLearner:
    """Forward passes and gradients of one team on any device."""

    def __init__(self, actors: Stack, critic: Stack, action_counts: tuple[int, ...], params: TeamParams) -> None:
        self.actors, self.critic = actors, critic
        self.action_counts, self.params = action_counts, params
        self.device = actors.flat.device
        self.mask = torch.from_numpy(action_mask(action_counts)).to(self.device)

    def logits(self, agent: int, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one agent's logits [N, K] for its observations [N, D]."""
        one = split(self.actors.flat.detach()[agent : agent + 1], self.actors.widths)
        outputs = forward(one, torch.from_numpy(observations).to(self.device).unsqueeze(0))
        return np.asarray(outputs[0].cpu().numpy())

    def values(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the critic's normalised estimates [M] for states [M, S]."""
        outputs = forward(self.critic.layers, torch.from_numpy(states).to(self.device).unsqueeze(0))
        return np.asarray(outputs[0, :, 0].cpu().numpy())

    def gradients(self, batch: Batch, index: Tensor) -> Tensor:
        """Write the gradients of the minibatch ``index`` [m]; return the means named by STATISTICS."""
        self.actors.clear_gradients()
        self.critic.clear_gradients()
        actor_loss, statistics = self._actor_loss(batch, index)
        critic_loss = self._critic_loss(batch, index)
        (actor_loss + self.params.value_coefficient * critic_loss).backward()  # type: ignore[no-untyped-call]
        return torch.stack([statistics[0], critic_loss.detach(), *statistics[1:]])

    def _actor_loss(self, batch: Batch, index: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Clipped policy loss less entropy bonus (Schulman et al. 2017, eq. 7 and 9), summed over the agents."""
        inputs = batch.observations.index_select(1, index)
        logits = forward(split(self.actors.flat, self.actors.widths), inputs) + self.mask.unsqueeze(1)
        log_probs = torch.log_softmax(logits, dim=2)
        actions = batch.actions.index_select(1, index)
        log_ratio = log_probs.gather(2, actions.unsqueeze(2)).squeeze(2) - batch.log_probs.index_select(1, index)
        ratio = log_ratio.exp()
        gains = batch.advantages.index_select(0, index)
        clipped = ratio.clamp(1 - self.params.clip, 1 + self.params.clip)
        policy_loss = -torch.minimum(ratio * gains, clipped * gains).mean(dim=1).sum()
        entropy = -(log_probs.exp() * log_probs).sum(dim=2).mean(dim=1).sum()
        with torch.no_grad():
            kl = (ratio - 1 - log_ratio).mean()  # Schulman's low-variance estimator
            clip_frac = ((ratio - 1).abs() > self.params.clip).float().mean()
            agents = len(self.mask)
            statistics = [policy_loss / agents, entropy / agents, kl, clip_frac]
        return policy_loss - self.params.entropy * entropy, statistics

    def _critic_loss(self, batch: Batch, index: Tensor) -> Tensor:
        """Half squared error, the worse of the free and the clipped estimate (Yu et al. 2022, appendix A)."""
        inputs = batch.states.index_select(0, index).unsqueeze(0)
        values = forward(split(self.critic.flat, self.critic.widths), inputs)[0, :, 0]
        old, target = batch.values.index_select(0, index), batch.returns.index_select(0, index)
        clipped = old + (values - old).clamp(-self.params.clip, self.params.clip)
        return 0.5 * torch.maximum((values - target).square(), (clipped - target).square()).mean()
