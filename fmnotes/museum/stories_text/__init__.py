"""The text of the stories: word lists, what any story may say, and the plots. `fmnotes.museum.stories` reads it."""

from fmnotes.museum.stories_text import plots_contests, plots_hearts, plots_lost, plots_nights

PLOTS: dict[str, str] = plots_lost.PLOTS | plots_contests.PLOTS | plots_hearts.PLOTS | plots_nights.PLOTS
