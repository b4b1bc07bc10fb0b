"""Ends a training that no longer gains, also one that was interrupted and goes on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras


class StopEarly(keras.callbacks.Callback):
    """Stops after so many epochs without a lower validation loss.

    What was before an interruption is read from the log, which Keras' `EarlyStopping` would forget.

    Args:
        patience: Epochs.
        log: The CSV log of a training that goes on.
    """

    def __init__(self, patience: int, log: Path | None = None) -> None:
        super().__init__()
        self.patience, self.log = patience, log

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reads what has been."""
        self._losses: dict[int, float] = {}
        if self.log is not None:
            with self.log.open(newline="") as file:
                for row in csv.DictReader(file):
                    self._losses[int(row["epoch"])] = float(row["val_loss"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares the epoch with the best one."""
        self._losses[epoch] = (logs or {})["val_loss"]
        best = min(self._losses, key=lambda past: self._losses[past])
        if epoch - best >= self.patience:
            self.model.stop_training = True
