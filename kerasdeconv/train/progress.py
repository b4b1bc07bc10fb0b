"""Progress of a training on the terminal."""

from __future__ import annotations

import time
from typing import Any

import keras
import rich.console
import rich.progress


class Progress(keras.callbacks.Callback):
    """Shows a bar with the time left on a terminal, and a line an epoch everywhere.

    Args:
        epochs: Epochs of the whole training.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self._console = rich.console.Console(stderr=True)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.TaskProgressColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the bar."""
        self._task = self._bar.add_task("training", total=None)
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar to the epoch (a resumed training does not begin at the first)."""
        steps = self.params["steps"]
        self._bar.update(
            self._task,
            description=f"epoch {epoch + 1}/{self.epochs}",
            total=self.epochs * steps,
            completed=epoch * steps,
        )
        self._begun = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar by a step."""
        self._bar.advance(self._task)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Prints the epoch's figures."""
        figures = "  ".join(f"{name} {value:.5g}" for name, value in (logs or {}).items())
        seconds = time.monotonic() - self._begun
        line = f"epoch {epoch + 1}/{self.epochs}  {figures}  ({seconds:.0f} s)"
        self._console.print(line, soft_wrap=True, highlight=False)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Stops the bar."""
        self._bar.stop()
