from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from grandmodel.market.decision import decode_actions
from grandmodel.market.reference import ORDER_CODES, decoded


def decode(spec, actions, intent):
    layout = spec.layout
    return decode_actions(np.array([actions], np.int64), 0, layout.targets, layout.uses_intent, intent[None], 0)


FLAT = np.array([0, 1, 0, 0, 0, 1], np.float32)


def test_all_strategic_actions_equal_the_plain_rule(sized_team):
    targets = set()
    for actions in product(range(3), range(3), range(3), range(4)):
        target, order = decode(sized_team, actions, FLAT)
        expected, style = decoded(sized_team, actions, FLAT)
        assert (target, order) == (expected, ORDER_CODES[style])
        targets.add(round(target, 9))
    assert min(targets) == -1
    assert max(targets) == 1
    assert 0 in targets


@pytest.mark.parametrize("intent", [(0, 0, 1, 1), (1, 0, 0, 1), (0.25, 0.25, 0.5, 0.5), (0, 1, 0, 0), (0.5, 0, 0.5, 1)])
def test_all_tactical_actions_equal_the_plain_rule(ordering_team, intent):
    numbers = np.array([*intent, 0.5, 0.1], np.float32)
    wish = (intent[2] - intent[0]) * intent[3]
    for actions in product(range(3), repeat=3):
        target, order = decode(ordering_team, actions, numbers)
        expected, style = decoded(ordering_team, actions, numbers)
        assert (target, order) == (expected, ORDER_CODES[style])
        assert 0 <= abs(target) <= abs(wish) + 1e-7
        assert target * wish >= 0


def test_only_a_vote_of_all_against_the_intent_vetoes_it(ordering_team):
    short = np.array([1, 0, 0, 0.5, 1, 0], np.float32)
    take = {votes: decode(ordering_team, [*votes, 2], short)[0] for votes in product(range(3), repeat=2)}
    assert {votes for votes, target in take.items() if target == 0.0} == {(2, 2)}
    assert {target for votes, target in take.items() if votes != (2, 2)} == {-0.5}


def test_order_styles_are_wait_limit_market(ordering_team):
    orders = [decode(ordering_team, [2, 2, style], FLAT)[1] for style in range(3)]
    assert orders == [0, 1, 2]
