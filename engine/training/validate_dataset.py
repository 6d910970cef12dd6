"""Measuring a model on the test split of a published dataset, by that dataset's own rule."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.datasets import Dataset, open_dataset
from engine.encoder import normalise, project_photo, shape_tiles
from engine.encoder.preprocess import canvas_to_input
from engine.networks import DualEncoder
from engine.training.pictures import Shown, save_pairs
from engine.training.recipes import Recipe
from engine.training.validate import encode, workers_for

_CHUNK = 32
_RANKS = (1, 5, 10)


class DatasetValidation:
    """Queries and references of a split; photos keep the heading they come with.

    A query is right at K when one of its positives is among the K best, with no more than K - 1 references strictly
    better (ties favour the query, as the papers count); the whole set, at ``queries`` queries, spread evenly.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        self._recipe, self._dataset = recipe, dataset
        known = np.array([i for i, p in enumerate(dataset.positives) if len(p)], np.int64)
        count = min(recipe.validation.queries, len(known))
        self._queries = known[np.linspace(0, len(known) - 1, count).astype(np.int64)]

    @classmethod
    def open(cls, recipe: Recipe, folder: Path) -> DatasetValidation:
        """The split that the recipe's ``data.validation_split`` names.

        Raises:
            DatasetError: when it cannot be read.
        """
        data = recipe.data
        options = {} if data.validation_format else dict(data.options)
        options["split"] = data.validation_split
        return cls(recipe, open_dataset(data.validation_format or data.format, folder, **options))

    def measure(self, model: DualEncoder, *, pictures: Path | None, step: int) -> dict[str, Any]:
        """See :class:`engine.training.validate.Validation`; R@1, R@5, R@10 and R@1% of the references."""
        start = time.perf_counter()
        model.eval()
        precision = self._recipe.optimiser.precision

        def tiles_from(first: int) -> Tensor:
            last = min(first + _CHUNK, len(self._dataset.references))
            images = np.concatenate([self._tile(i)[1] for i in range(first, last)])
            return encode(model.reference, images, precision)

        def photos_from(first: int) -> Tensor:
            some = self._queries[first : first + _CHUNK]
            images = np.concatenate([self._photo(int(i))[1] for i in some])
            return encode(model.query, images, precision)

        with workers_for(model) as pool:
            count = len(self._dataset.references)
            tiles = torch.cat(list(pool.map(tiles_from, range(0, count, _CHUNK))))
            photos = torch.cat(list(pool.map(photos_from, range(0, len(self._queries), _CHUNK))))
        scores = (photos @ tiles.T).cpu().numpy()
        ranks = self._ranks(scores)
        tenth = max(1, count // 100)
        recall = {f"R@{k}": round(float((ranks < k).mean()), 4) for k in _RANKS}
        recall["R@1%"] = round(float((ranks < tenth).mean()), 4)
        measured: dict[str, Any] = {"tiles": count, "queries": {"queries": recall}}
        if pictures is not None and self._recipe.validation.pictures:
            shown = self._shown(scores, ranks)
            measured["pairs"] = save_pairs(model, self._recipe, shown, pictures, step)
        return {"seconds": round(time.perf_counter() - start, 1), **measured}

    def _ranks(self, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        """How many references that are no positives are strictly better than a query's best positive."""
        ranks = np.empty(len(scores), np.int64)
        for row, query in enumerate(self._queries):
            right = self._dataset.positives[query]
            better = scores[row] > scores[row, right].max()
            ranks[row] = int(better.sum())
        return ranks

    def _tile(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        pixels, branch = self._dataset.read_reference(index), self._recipe.reference_branch
        return pixels, normalise(shape_tiles(pixels[None], branch), branch)

    def _photo(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        pixels, view = self._dataset.read_query(index)
        canvas, mask = project_photo(pixels, view, self._recipe.query_branch)
        seen = np.ones(canvas.shape[:2], bool) if mask is None else mask
        return canvas, canvas_to_input(canvas, seen, self._recipe.query_branch)

    def _shown(self, scores: NDArray[np.float32], ranks: NDArray[np.int64]) -> Iterator[Shown]:
        for row in range(min(self._recipe.validation.pictures, len(self._queries))):
            best = int(scores[row].argmax())
            canvas, canvas_input = self._photo(int(self._queries[row]))
            tile, tile_input = self._tile(best)
            similarity = round(float(scores[row, best]), 4)
            yield Shown(
                name=self._dataset.queries.files[self._queries[row]].name,
                canvas=canvas,
                canvas_input=canvas_input,
                tile=tile,
                tile_input=tile_input,
                facts={"rank": int(ranks[row]) + 1, "similarity": similarity},
            )
