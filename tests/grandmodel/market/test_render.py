from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError
from grandmodel.market.pettingzoo_env import MarketAEC, MarketParallel
from grandmodel.market.render import Episode, action_in_words, frame_pixels, frame_text, price_index
from grandmodel.market.simulated import simulated_tape

PARAMS = MarketParams()


@pytest.fixture
def episode() -> Episode:
    return Episode(
        team="strategic",
        symbol="NQ",
        simulated=True,
        bar_minutes=30,
        bars_max=128,
        close_ns=np.datetime64("2024-03-05T14:30", "ns").astype(np.int64) + np.arange(4) * 1800 * 10**9,
        price=np.array([100.0, 101.0, 100.5, 101.505]),
        position=np.array([0.0, 0.5, 0.5, -0.25]),
        equity=np.array([0.95, 1.02, 1.0, 0.969]),
        reward=np.array([0.0, 1.0, -0.5, -0.75]),
        actions={"mlmi": "short", "coordinator": "size 2/3"},
        end="truncated",
    )


def rendered(face, spec, mode, steps, seed=3, **options):
    env = face(simulated_tape(spec), spec, PARAMS, render_mode=mode, **options)
    env.reset(seed=seed)
    for _ in range(steps):
        env.step(dict.fromkeys(env.possible_agents, 2))
    return env.render()


def test_the_text_has_every_figure(episode):
    text = frame_text(episode)
    for part in (
        "strategic on NQ, 30-minute bars: SIMULATED, not market data",
        "2024-03-05 16:00 UTC   bar 3 of 128   truncated",
        "101.505   last bar +1.000%",
        "-0.250 short",
        "0.9690   drawdown 5.00%",
        "mlmi short   coordinator size 2/3",
        "-0.7500   episode -0.2500",
    ):
        assert part in text
    assert text.isascii()


@pytest.mark.parametrize(
    ("simulated", "words"), [(True, "SIMULATED"), (False, ": market data"), (None, "source of the bars not stated")]
)
def test_the_text_says_where_the_bars_come_from(episode, simulated, words):
    assert words in frame_text(replace(episode, simulated=simulated))


def test_a_picture_is_rgb_and_shows_what_it_is_given(episode):
    pixels = frame_pixels(episode)
    assert pixels.shape == (640, 960, 3)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, frame_pixels(episode))
    changed = {
        "price": episode.price * np.array([1, 1, 1, 1.001]),
        "position": -episode.position,
        "equity": episode.equity * np.array([1, 1, 1, 0.99]),
        "simulated": False,
        "actions": {},
        "symbol": "ES",
    }
    for name, value in changed.items():
        assert not np.array_equal(pixels, frame_pixels(replace(episode, **{name: value}))), name


def test_nothing_is_a_negative_zero(episode):
    text = frame_text(replace(episode, position=np.array([0.0, 0.5, 0.5, -0.0]), reward=np.array([0.0, 0, 0, -1e-9])))
    assert "+0.000 flat" in text
    assert "-0.0000" not in text


def test_the_first_bar_alone_can_be_drawn(sized_team):
    assert rendered(MarketParallel, sized_team, "rgb_array", 0).std() > 0
    text = rendered(MarketParallel, sized_team, "ansi", 0)
    assert "100.000   last bar +0.000%" in text
    assert "none yet" in text


def test_equal_episodes_give_equal_pictures_and_a_bar_more_another(sized_team):
    now, again, later, other = (
        rendered(MarketParallel, sized_team, "rgb_array", steps, seed)
        for steps, seed in ((6, 3), (6, 3), (7, 3), (6, 4))
    )
    assert np.array_equal(now, again)
    assert not np.array_equal(now, later)
    assert not np.array_equal(now, other)


@pytest.mark.parametrize("face", [MarketAEC, MarketParallel])
def test_a_face_draws_what_its_market_holds(sized_team, face):
    env = face(simulated_tape(sized_team), sized_team, PARAMS, render_mode="ansi", simulated=True, window_bars=9)
    env.reset(seed=2)
    market, tape = env._face.market, env._face.market.tape
    start = int(market.rows[0])
    for _ in range(5):
        if face is MarketParallel:
            env.step(dict.fromkeys(env.possible_agents, 2))
        else:
            for _ in env.possible_agents:
                env.step(2)
    episode, text = env._face.episode(), env.render()
    now = int(market.rows[0])
    growth = np.prod([(1 + tape.gap_frac[r]) * (1 + tape.body_frac[r]) for r in range(start + 1, now + 1)])
    assert now == start + 5
    assert episode.price[-1] == pytest.approx(100 * growth)
    assert episode.position[-1] == market.accounts[0, 0] != 0
    assert episode.equity[-1] == pytest.approx(np.exp(market.accounts[0, 1]))
    assert episode.close_ns[-1] == tape.close_ns[now]
    assert "near long   far long   hour long   sizer size 2/3" in text
    assert "bar 5 of 9   running" in text
    assert "SIMULATED" in text


def test_without_a_mode_nothing_is_drawn_and_a_mode_that_does_not_exist_is_refused(sized_team):
    assert rendered(MarketParallel, sized_team, None, 2) is None
    with pytest.raises(ConfigError, match="rgb_array"):
        rendered(MarketParallel, sized_team, "human", 0)


def test_actions_and_prices_in_words_and_numbers():
    assert [action_in_words(a, 0, (3, 4), False) for a in range(3)] == ["short", "flat", "long"]
    assert action_in_words(2, 1, (3, 4), False) == "size 2/3"
    assert [action_in_words(a, 1, (3, 3), True) for a in range(3)] == ["wait", "limit", "market"]
    index = price_index(np.array([0.5, 0.1, 0.0]), np.array([0.5, 0.0, -0.5]))
    assert index.tolist() == pytest.approx([100.0, 110.0, 55.0])
