"""One episode so far as a page of text and as a picture: price with the position marked, position, equity.

A tape holds returns and not prices, so the price shown is an index that starts at 100 with the episode. Whether its
bars are simulated is not on the tape either: whoever builds an environment says so, and a picture shows what was said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES, DOTS_PER_INCH = (9.6, 6.4), 100
PRICE_AT_START = 100.0
VOTES = ("short", "flat", "long")
ORDERS = ("wait", "limit", "market")
MINUS = "\N{MINUS SIGN}"
# Blue and orange differ in every common kind of colour blindness; red is left to losses.
INK, MUTED, RULE, LONG, SHORT, LOSS = "#1f2933", "#667482", "#dde3e9", "#1f77b4", "#e07b1a", "#c0392b"
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Episode:
    """One episode so far: E bars, the first being the one at whose close the team acted first."""

    team: str
    symbol: str
    simulated: bool | None  # None where nobody said
    bar_minutes: int
    bars_max: int | None  # length of the window; None where episodes end with the session
    close_ns: NDArray[np.int64]  # [E] UTC
    price: NDArray[np.float64]  # [E] index, 100 at the first bar
    position: NDArray[np.float64]  # [E] held at the close, in [-1, 1] of the risk budget
    equity: NDArray[np.float64]  # [E] 1 = the highest before the episode
    reward: NDArray[np.float64]  # [E] of the bar; 0 at the first
    actions: dict[str, str]  # the last ones, in words; empty before the first
    end: str  # "running", "terminated" or "truncated"

    @property
    def drawdown_frac(self) -> NDArray[np.float64]:
        """Loss from the highest equity so far, a fraction >= 0, float64[E]."""
        drawdown: NDArray[np.float64] = 1.0 - self.equity / np.maximum.accumulate(np.maximum(self.equity, 1.0))
        return drawdown

    @property
    def provenance(self) -> str:
        """What is known of where the bars come from."""
        if self.simulated is None:
            return "source of the bars not stated"
        return "SIMULATED, not market data" if self.simulated else "market data"


def price_index(gap_frac: NDArray[np.float64], body_frac: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return closes as an index float64[E] that is 100 at the first bar, from gaps and bodies float64[E]."""
    growth = (1.0 + gap_frac[1:]) * (1.0 + body_frac[1:])
    return PRICE_AT_START * np.cumprod(np.concatenate([[1.0], growth]))


def action_in_words(action: int, agent: int, action_counts: tuple[int, ...], uses_intent: bool) -> str:
    """Return one agent's action as a word: a vote, an order style, or a share of the risk budget."""
    if agent + 1 < len(action_counts):
        return VOTES[action]
    return ORDERS[action] if uses_intent else f"size {action}/{action_counts[agent] - 1}"


def frame_text(episode: Episode) -> str:
    """Return where the market stands as plain lines of ASCII text."""
    price, equity, bars = episode.price, episode.equity, len(episode.price)
    move_frac = price[-1] / price[-2] - 1.0 if bars > 1 else 0.0
    of_window = "" if episode.bars_max is None else f" of {episode.bars_max}"
    spoken = "   ".join(f"{agent} {word}" for agent, word in episode.actions.items()) or "none yet"
    lines = {
        "time": f"{_minute(episode.close_ns[-1])} UTC   bar {bars - 1}{of_window}   {episode.end}",
        "price": f"{price[-1]:.3f}   last bar {move_frac:+z.3%}   (index, 100 at the start)",
        "position": f"{episode.position[-1]:+z.3f} {_side(episode.position[-1])}",
        "equity": f"{equity[-1]:.4f}   drawdown {episode.drawdown_frac[-1]:.2%}   (1 = the high before the episode)",
        "actions": spoken,
        "reward": f"{episode.reward[-1]:+z.4f}   episode {episode.reward.sum():+z.4f}",
    }
    head = f"{episode.team} on {episode.symbol}, {episode.bar_minutes}-minute bars: {episode.provenance}"
    return "\n".join([head, *(f"  {name:<9}{text}" for name, text in lines.items())])


def frame_pixels(episode: Episode) -> Pixels:
    """Return the episode as a picture, uint8 [640, 960, 3]; equal episodes give equal pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    price, position, equity = figure.subplots(3, 1, sharex=True, height_ratios=(3.0, 1.0, 1.6))
    figure.subplots_adjust(left=0.075, right=0.955, top=0.895, bottom=0.075, hspace=0.28)
    _write_head(figure, episode)
    _draw_price(price, episode)
    _draw_position(position, episode)
    _draw_equity(equity, episode)
    _label_time(equity, episode)
    canvas.draw()  # type: ignore[no-untyped-call]
    rgba: Pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(rgba[..., :3])


def _write_head(figure: Figure, episode: Episode) -> None:
    head = f"{episode.team} on {episode.symbol}, {episode.bar_minutes}-minute bars"
    figure.text(0.075, 0.957, head, fontsize=13, color=INK, weight="bold")
    warned = LOSS if episode.simulated is not False else MUTED
    figure.text(0.955, 0.957, episode.provenance, fontsize=10.5, color=warned, weight="bold", ha="right")
    spoken = "   ".join(f"{agent} {word}" for agent, word in episode.actions.items())
    figure.text(0.075, 0.0245, spoken, fontsize=9, color=MUTED)


def _draw_price(axes: Axes, episode: Episode) -> None:
    """Draw the price over a ground in the colour of the position held, with a mark at the open where it changed."""
    bars, price, position = np.arange(len(episode.price)), episode.price, episode.position
    for sign, colour in ((1.0, LONG), (-1.0, SHORT)):
        strength = np.clip(sign * position, 0.0, 1.0)
        for bar in np.flatnonzero(strength > 0.0).tolist():
            axes.axvspan(bar - 1.0, bar, color=colour, alpha=0.06 + 0.16 * float(strength[bar]), linewidth=0)
    axes.plot(bars, price, color=INK, linewidth=1.4)
    change = np.diff(position, prepend=position[:1])
    for sign, colour, marker in ((1.0, LONG, "^"), (-1.0, SHORT, "v")):
        at = bars[sign * change > 1e-9]
        size = 18.0 + 60.0 * np.abs(change[at])
        axes.scatter(
            at - 1, price[at - 1], s=size, c=colour, marker=marker, zorder=3, edgecolors="white", linewidths=0.6
        )
    _frame(
        axes,
        "Price",
        f"index, {PRICE_AT_START:g} at the start    \N{BLACK UP-POINTING TRIANGLE} bought  "
        f"\N{BLACK DOWN-POINTING TRIANGLE} sold",
        f"{price[-1]:.2f}",
    )
    _leave_room(axes, price, 1e-3 * PRICE_AT_START)


def _draw_position(axes: Axes, episode: Episode) -> None:
    bars, position = np.arange(len(episode.position)), episode.position
    for sign, colour in ((1.0, LONG), (-1.0, SHORT)):
        side = sign * np.clip(sign * position, 0.0, None)
        axes.fill_between(bars, side, 0.0, step="pre", color=colour, alpha=0.8, linewidth=0)
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set_ylim(-1.12, 1.12)
    axes.set_yticks([-1.0, 0.0, 1.0], [f"{MINUS}1", "0", "+1"])
    _frame(axes, "Position", "share of the risk budget, long above zero", _signed(position[-1], "+z.2f"))


def _draw_equity(axes: Axes, episode: Episode) -> None:
    """Draw the profit since the start; the drawdown in the title counts from the high before the episode too."""
    bars, profit = np.arange(len(episode.equity)), 100.0 * (episode.equity / episode.equity[0] - 1.0)
    high = np.maximum.accumulate(profit)
    axes.fill_between(bars, profit, high, color=LOSS, alpha=0.14, linewidth=0)
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.plot(bars, profit, color=INK, linewidth=1.4)
    now = f"{_signed(profit[-1], '+z.2f')} %, drawdown {episode.drawdown_frac[-1]:.1%}"
    _frame(axes, "Equity after costs", "% since the start, shaded below its high", now)
    _leave_room(axes, profit, 0.02)


def _label_time(axes: Axes, episode: Episode) -> None:
    """Label bars by their close; nights and weekends take no room."""
    last = len(episode.close_ns) - 1
    reach = max(last, 10)
    axes.set_xlim(-0.02 * reach, 1.02 * reach)
    at = sorted({round(tick) for tick in np.linspace(0, last, min(6, last + 1))})
    axes.set_xticks(at, [_minute(episode.close_ns[tick])[5:] for tick in at])
    axes.set_xlabel("close of the bar, month-day and UTC", fontsize=9, color=MUTED, loc="right", labelpad=3)


def _frame(axes: Axes, title: str, unit: str, now: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, weight="bold", pad=5)
    axes.set_title(unit, loc="center", fontsize=9, color=MUTED, pad=5)
    axes.set_title(now, loc="right", fontsize=10.5, color=INK, weight="bold", pad=5)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)


def _leave_room(axes: Axes, values: NDArray[np.float64], least: float) -> None:
    low, high = float(values.min()), float(values.max())
    room = 0.08 * max(high - low, least)
    axes.set_ylim(low - room, high + room)
    axes.ticklabel_format(axis="y", useOffset=False)


def _minute(ns: np.int64) -> str:
    return str(np.datetime64(int(ns), "ns").astype("datetime64[m]")).replace("T", " ")


def _side(position: float) -> str:
    return "flat" if position == 0.0 else "long" if position > 0.0 else "short"


def _signed(value: float, form: str) -> str:
    return format(value, form).replace("-", MINUS)
