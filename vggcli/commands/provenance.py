"""What makes a run's numbers what they are, from what was opened for it."""

from __future__ import annotations

import os
from typing import NamedTuple

from vggcli import __version__
from vggcli.classifier import Classifier
from vggcli.engines import Engine
from vggcli.network import labels
from vggcli.records import Provenance
from vggcli.run.ranking import Selection


class Computing(NamedTuple):
    """What computes, in this process or in others; see `Provenance` for the fields."""

    engine: str
    device: str
    precision: str
    precision_source: str = ""

    @classmethod
    def of(cls, engine: Engine, why: str) -> Computing:
        """That of an opened engine; `why` it computes in its precision is what `engines.choice.why` says."""
        return cls(engine.name, engine.device, engine.precision, why)


def provenance_of(
    classifier: Classifier, selection: Selection, computing: Computing, *, is_kept: bool = True
) -> Provenance:
    """The provenance of a run.

    Args:
        is_kept: whether it may be compared later, which is what the fingerprints of weights and labels are for.
    """
    model = classifier.model
    weights = names = ""
    if is_kept:
        from vggcli.weights import store

        weights, names = store.fingerprint(model.path), labels.digest(model.labels)
    return Provenance(
        version=__version__,
        weights=model.name,
        weights_fingerprint=weights,
        variant=model.variant,
        dialect=model.reading.layout.name,
        preprocessing=classifier.preprocessing,
        labels=names,
        engine=computing.engine,
        device=computing.device,
        precision=computing.precision,
        top_k=selection.top_k,
        min_prob=selection.min_prob,
        recipe_source=model.recipe.source,
        precision_source=computing.precision_source,
        temperature=classifier.temperature,
        calibration=os.path.basename(classifier.settings.calibration or ""),
    )
