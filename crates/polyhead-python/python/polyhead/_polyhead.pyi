"""The extension module. ``polyhead`` is what people import."""

import os
from typing import Callable, Optional, final

__all__ = ["Session", "__version__", "run_command", "train"]

__version__: str

def run_command(arguments: list[str]) -> int: ...
def train(
    file: Optional[str | os.PathLike[str]],
    recipe: Optional[str],
    overrides: str,
    resume: Optional[str | os.PathLike[str]],
    threads: Optional[int],
    on_event: Callable[[str], object],
    on_note: Callable[[str], object],
) -> Optional[str]: ...
@final
class Session:
    @staticmethod
    def open(folder: str | os.PathLike[str], precision: str, threads: Optional[int]) -> Session: ...
    @property
    def precision(self) -> str: ...
    def tasks(self) -> str: ...
    def predict(self, task: str, requests: list[str]) -> list[str]: ...
    def logits(self, task: str, requests: list[str]) -> list[tuple[bytearray, int, int]]: ...
    def embed(self, texts: list[str], max_length: int) -> tuple[bytearray, int, int]: ...
    def evaluate(self, task: str, data: list[str], options: str) -> str: ...
