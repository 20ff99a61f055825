"""The update by automatic differentiation: the text to read, the path on a GPU, and the twin of ``fused``."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grandmodel.core.config import TeamParams
from grandmodel.marl import ranks
from grandmodel.marl.dropout import Masks, draw_masks
from grandmodel.marl.networks import MixIn, Stack, action_mask, forward, split
from grandmodel.marl.rollout import Batch
from grandmodel.marl.superposition import split_mixture, with_context

STATISTICS = ("policy_loss", "value_loss", "entropy", "kl", "clip_frac")


class AutogradLearner:
    """Forward passes and gradients of one team on any device."""

    portable_actors = None  # torch sums in another order for another number of copies

    def __init__(self, actors: Stack, critic: Stack, action_counts: tuple[int, ...], params: TeamParams) -> None:
        self.actors, self.critic = actors, critic
        self.action_counts, self.params = action_counts, params
        self.device = actors.flat.device
        self.mask = torch.from_numpy(action_mask(action_counts)).to(self.device)
        self.last_actions = torch.tensor(action_counts, device=self.device) - 1
        self._masks: Masks | None = None  # [A, N, H], one mask an agent and copy for the whole rollout

    def begin_rollout(self, copies: int, generator: np.random.Generator) -> None:
        """Draw dropout masks for ``copies``, where there is dropout; the parameters are read where they stand."""
        rate, hidden, agents = self.actors.dropout, self.actors.widths[2], len(self.action_counts)
        if rate > 0:
            seed, everyone = int(generator.integers(2**63)), copies * ranks.world().size
            drawn = draw_masks(seed, agents, everyone, hidden, rate, self.device)
            self._masks = Masks(*(mask[:, ranks.part_of(copies)] for mask in drawn))

    @torch.no_grad()
    def act(
        self,
        agents: range,
        observations: NDArray[np.float32],
        uniforms: NDArray[np.float32],
        seen: NDArray[np.float32],
        actions: NDArray[np.int64],
        log_probs: NDArray[np.float32],
    ) -> None:
        """Let ``agents`` act, see ``rollout.Actors``."""
        part = slice(agents.start, agents.stop)
        seen[part] = observations[:, part].swapaxes(0, 1)
        masks = Masks(*(mask[part] for mask in self._masks)) if self._masks else None
        logits = self._logits(torch.from_numpy(seen[part]).to(self.device), part, masks)
        probs = torch.softmax(logits, dim=2)
        draws = torch.from_numpy(uniforms[part]).to(self.device).unsqueeze(2)
        chosen = (probs.cumsum(dim=2) <= draws).sum(dim=2, keepdim=True)
        # The running sum may end a hair below 1, and the draw lie between the two.
        chosen = torch.minimum(chosen, self.last_actions[part].view(-1, 1, 1))
        taken = torch.log_softmax(logits, dim=2).gather(2, chosen)
        actions[:, part] = chosen[..., 0].T.cpu().numpy()
        log_probs[part] = taken[..., 0].cpu().numpy()

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
        # Detached: a sum of these would else keep the graph of every minibatch.
        return torch.stack([statistics[0], critic_loss, *statistics[1:]]).detach()

    def update(self, batch: Batch, index: Tensor, optimiser: torch.optim.Adam) -> Tensor:
        """Take one gradient step on the minibatch ``index`` [m] of each rank; return the same means over all ranks."""
        means = self.gradients(batch, index)
        gradients = [stack.flat.grad for stack in (self.actors, self.critic) if stack.flat.grad is not None]
        ranks.pool([*gradients, means], len(index))
        for stack in (self.actors, self.critic):
            stack.clip_norms(self.params.gradient_norm_max)
        optimiser.step()
        return means

    def _logits(self, inputs: Tensor, agents: slice, masks: Masks | None) -> Tensor:
        """Return the masked logits [B, m, K] of ``agents`` for ``inputs`` [B, m, D] under dropout's masks [B, m, H]."""
        shared = len(self.actors.flat) == 1
        flat = self.actors.flat if shared else self.actors.flat[agents]
        samples = inputs.reshape(1, -1, inputs.shape[2]) if shared else inputs
        if shared and masks is not None:
            masks = Masks(*(mask.reshape(1, -1, mask.shape[2]) for mask in masks))
        outputs = forward(split(flat, self.actors.widths), samples, masks, self._mix(flat))
        return outputs.view(*inputs.shape[:2], outputs.shape[2]) + self.mask[agents].unsqueeze(1)

    def _mix(self, flat: Tensor) -> MixIn | None:
        """Return what the mixture layer of the networks ``flat`` does to the second hidden layer, if there is one."""
        if self.actors.mixture == "none":
            return None
        layers = split_mixture(flat, self.actors.widths[2])
        return partial(with_context, layers, mixture=self.actors.mixture)

    def _masks_of(self, index: Tensor) -> Masks | None:
        """Return the masks that the samples ``index`` were taken under; sample m belongs to copy m modulo N."""
        if self._masks is None:
            return None
        copies = index % self._masks.first.shape[1]
        return Masks(*(mask.index_select(1, copies) for mask in self._masks))

    def _actor_loss(self, batch: Batch, index: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Clipped policy loss less entropy bonus (Schulman et al. 2017, eq. 7 and 9).

        Averaged over the samples of each network: separate actors each have their own mean, and the means are summed.
        """
        inputs = batch.observations.index_select(1, index)
        logits = self._logits(inputs, slice(None), self._masks_of(index))
        log_probs = torch.log_softmax(logits, dim=2)
        actions = batch.actions.index_select(1, index)
        log_ratio = log_probs.gather(2, actions.unsqueeze(2)).squeeze(2) - batch.log_probs.index_select(1, index)
        ratio = log_ratio.exp()
        gains = batch.advantages.index_select(0, index)
        clipped = ratio.clamp(1 - self.params.clip, 1 + self.params.clip)
        policy_loss = -torch.minimum(ratio * gains, clipped * gains).mean()
        entropy = -(log_probs.exp() * log_probs).sum(dim=2).mean()
        with torch.no_grad():
            kl = (ratio - 1 - log_ratio).mean()  # Schulman's low-variance estimator
            clip_frac = ((ratio - 1).abs() > self.params.clip).float().mean()
            statistics = [policy_loss, entropy, kl, clip_frac]
        loss = policy_loss - self.params.entropy * entropy
        return loss * len(self.actors.flat), statistics

    def _critic_loss(self, batch: Batch, index: Tensor) -> Tensor:
        """Half squared error, the worse of the free and the clipped estimate (Yu et al. 2022, appendix A)."""
        inputs = batch.states.index_select(0, index).unsqueeze(0)
        values = forward(split(self.critic.flat, self.critic.widths), inputs)[0, :, 0]
        old, target = batch.values.index_select(0, index), batch.returns.index_select(0, index)
        clipped = old + (values - old).clamp(-self.params.clip, self.params.clip)
        return 0.5 * torch.maximum((values - target).square(), (clipped - target).square()).mean()
