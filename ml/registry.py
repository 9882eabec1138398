"""What a serving process answers with: one scorer a model, exchanged while requests run."""

from threading import Lock

from ml.scoring import MockScorer, Scorer

_MOCK = MockScorer()


class ModelRegistry:
    """Thread-safe. A request that took a scorer keeps it to its end, whatever is installed
    meanwhile: its score and its explanation come from the same version.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._scorers: dict[str, Scorer] = {}

    def scorer(self, key: str) -> Scorer:
        """A mock where nothing is installed."""
        return self._scorers.get(key, _MOCK)

    def install(self, key: str, version: str, scorer: Scorer) -> None:
        """`scorer` answers for the model from now on, under this version."""
        self._replace(key, scorer.with_version(version))

    def remove(self, key: str) -> None:
        """Puts the model, and only it, into mock mode."""
        self._replace(key, None)

    def keys(self) -> set[str]:
        return set(self._scorers)

    def versions(self) -> dict[str, str]:
        """The installed version of every model that is not a mock."""
        return {key: scorer.version for key, scorer in self._scorers.items()}

    def _replace(self, key: str, scorer: Scorer | None) -> None:
        # Readers take no lock: they see the old dictionary or the new one, both whole.
        with self._lock:
            scorers = {**self._scorers}
            scorers.pop(key, None)
            if scorer is not None:
                scorers[key] = scorer
            self._scorers = scorers
