"""Measuring on datasets of queries and references: real graphs, pictures on disk, the store, variants, components."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from engine.datasets import open_dataset
from engine.encoder import open_encoder
from engine.errors import Cancelled, DatasetError, EncoderError, NadirError
from engine.evaluation.benchmark import merge_majority, merge_nearest
from engine.evaluation.curves import Curve, curves_csv, distance_curve, recall_curve, write_curves
from engine.evaluation.describe import Asked, Model, describe_queries, describe_references
from engine.evaluation.pca import fit_pca
from engine.evaluation.retrieval import evaluate_dataset
from engine.evaluation.store import Store
from engine.evaluation.variants import VARIANTS, crops_of
from tests.engine.datasets.pictures import picture
from tests.engine.flat import make_town, places
from tests.street_encoder import save_street_encoder

PLACES = 6


def near(path, seed: int, size=(48, 32)):
    """Much like the picture of that seed, but not the same."""
    picture(path, seed, size)
    pixels = np.asarray(Image.open(path)).astype(np.float32)
    noise = np.random.default_rng(99 + seed).normal(0, 3, pixels.shape)
    Image.fromarray(np.clip(pixels * 0.95 + noise, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """A dataset in the benchmark's layout whose queries look like the photos of their places; the last has none."""
    folder = tmp_path_factory.mktemp("street")
    for i in range(PLACES):
        picture(
            folder / f"database/@{500_000 + 100 * i:.2f}@4000000.00@@@@@p{i}@@@@@@@@.jpg",
            i,
            (48, 32),
        )
        near(folder / f"queries/@{500_010 + 100 * i:.2f}@4000000.00@@@@@q{i}@@@@@@@@.jpg", i)
    picture(folder / "queries/@900000.00@4000000.00@@@@@far@@@@@@@@.jpg", 50, (48, 32))
    return folder


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    save_street_encoder(folder / "fixed.encoder")
    save_street_encoder(folder / "any.encoder", any_size=True)
    save_street_encoder(folder / "square.encoder", size=(24, 24))
    return {
        name: open_encoder(folder / f"{name}.encoder", threads=1, gpu=False)
        for name in ("fixed", "any", "square")
    }


def test_the_benchmarks_dataset(street, encoders):
    data = open_dataset("vg", street)
    found = evaluate_dataset(data, Model.of(encoders["fixed"]), heading_known=False)
    values = found.to_dict()
    json.dumps(values, allow_nan=False)
    assert values["queries"] == PLACES + 1 and values["rule"] == "vg"
    assert values["R@1"] == values["R@20"] == round(PLACES / (PLACES + 1), 4)
    assert values["R@1%"] is None and values["hit_rate"] is None and values["AP"] is None
    assert values["R@1<25m"] == values["R@1"] and values["median_error_m"] == 10
    assert values["median_heading_error_deg"] is None and values["index"] is None
    assert found.first[:PLACES, 0].tolist() == list(range(PLACES))
    curves = {curve.name: curve for curve in found.curves()}
    assert curves["R@K"].recall[0] == pytest.approx(PLACES / (PLACES + 1))
    assert curves["R@1<m"].recall[[9, 10]].tolist() == pytest.approx([0, PLACES / (PLACES + 1)])


def test_descriptors_are_those_of_the_encoder(street, encoders):
    data, model = open_dataset("vg", street), Model.of(encoders["fixed"])
    references, _ = describe_references(data, model)
    queries = describe_queries(data, model, Asked(heading_known=False))
    for i in (0, 3):
        pixels, view = data.read_query(i)
        expected = encoders["fixed"].encode_photo(pixels, view).descriptor[0]
        assert np.allclose(queries.block(i, i + 1)[0, 0], expected, atol=1e-6)
        alone = encoders["fixed"].encode_pictures([data.read_reference(i)])[0]
        assert np.allclose(references[i], alone, atol=1e-6)


def test_other_rules_on_the_same_descriptors(street, encoders, tmp_path):
    data, model, store = open_dataset("vg", street), Model.of(encoders["fixed"]), Store(tmp_path)
    first = evaluate_dataset(data, model, heading_known=False, store=store)
    assert first.from_store == ()

    def broken():
        raise AssertionError("the model was asked for")

    closed = Model(encoders["fixed"].card, broken)
    for rule in ("strict", "sample4geo", "university", "gsv"):
        again = evaluate_dataset(data, closed, heading_known=False, rule=rule, store=store)
        assert again.from_store == ("reference", "query")
        assert again.recalls["R@1"] == pytest.approx(PLACES / (PLACES + 1))
    assert again.to_dict()["rule"] == "gsv"
    assert evaluate_dataset(
        data, closed, heading_known=False, rule="university", store=store
    ).recalls["AP"] == pytest.approx(PLACES / (PLACES + 1))


def test_the_store_forgets_what_has_changed(tmp_path, encoders):
    for i in range(3):
        picture(tmp_path / f"d/queries/{i}.png", i)
        picture(tmp_path / f"d/references/{i}.png", i + 10)
    store, model = Store(tmp_path / "kept"), Model.of(encoders["fixed"])

    def run(model=model, **options):
        data = open_dataset("pairs", tmp_path / "d")
        return evaluate_dataset(data, model, heading_known=False, store=store, **options).from_store

    both = ("reference", "query")
    assert run() == () and run() == both
    picture(tmp_path / "d/queries/1.png", 77, (26, 16))
    assert run() == ("reference",) and run() == both
    picture(tmp_path / "d/references/3.png", 5)
    assert run() == ("query",)
    assert run(Model.of(encoders["any"])) == () and run() == both
    assert run(variant="central_crop") == ("reference",)
    assert run(fov_deg=20.0) == ("reference",)
    # A file that was cut short is as good as none.
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert run() == () and run() == both


def test_cancelling_leaves_nothing_behind(street, encoders, tmp_path):
    def stop(done, total, text):
        if "queries" in text:
            raise Cancelled

    data = open_dataset("vg", street)
    with pytest.raises(Cancelled):
        evaluate_dataset(
            data,
            Model.of(encoders["fixed"]),
            heading_known=False,
            store=Store(tmp_path),
            report=stop,
        )
    assert len(list(tmp_path.iterdir())) == 1  # the references, which were done


# ---------------------------------------------------------------- panoramas and tiles


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    return make_town(tmp_path_factory.mktemp("flat"))


@pytest.fixture(scope="module")
def pairs(town):
    """Panoramas of a flat world and the tiles about them, as pictures on disk."""
    extent = town.encoder.card.extent_m
    lines = [
        "query,reference,lat,lon,heading_deg,reference_lat,reference_lon,extent_m,kind,fov_deg"
    ]
    from engine.imagery import open_imagery
    from engine.photo.write import save_jpeg

    folder = town.folder / "pairs"
    folder.mkdir()
    with open_imagery(town.folder / "imagery.tif") as imagery:
        for i, (east, south, heading) in enumerate(places(8, seed=5)):
            lat, lon = town.world.to_wgs84(east, south)
            save_jpeg(folder / f"q{i}.jpg", town.panorama(east, south, heading).pixels, 95)
            Image.fromarray(imagery.cut(lat, lon, extent, 200)[0]).save(folder / f"r{i}.png")
            lines.append(
                f"q{i}.jpg,r{i}.png,{lat},{lon},{heading},{lat},{lon},{extent},panorama,360"
            )
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_panoramas_with_headings_known_and_searched(town, pairs):
    data = open_dataset("pairs", pairs)
    model = Model.of(town.encoder)
    for known in (True, False):
        values = evaluate_dataset(data, model, heading_known=known, rule="strict").to_dict()
        assert values["R@1"] == values["hit_rate"] == values["R@1<25m"] == 1
        assert (values["median_heading_error_deg"] is None) == known
    assert values["median_heading_error_deg"] < 6
    narrow = evaluate_dataset(data, model, heading_known=True, fov_deg=120.0)
    assert narrow.recalls["R@1"] > 0.5 and narrow.to_dict()["fov_deg"] == 120
    for known in (True, False):
        with pytest.raises(DatasetError, match=r"are compared under \d+ headings"):
            evaluate_dataset(data, model, heading_known=known, rule="vg")
    with pytest.raises(EncoderError, match="principal components"):
        evaluate_dataset(data, model, pca=4)
    with pytest.raises(EncoderError, match="means nothing to it"):
        evaluate_dataset(data, model, variant="five_crops", rule="vg")


def test_headings_that_are_not_known(pairs, town):
    data = open_dataset("pairs", pairs)
    data = replace(
        data, queries=replace(data.queries, heading_deg=data.queries.heading_deg * np.nan)
    )
    with pytest.raises(DatasetError, match="does not say where its photos look"):
        evaluate_dataset(data, Model.of(town.encoder), heading_known=True)


# ---------------------------------------------------------------- variants


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(street, encoders, variant):
    data = open_dataset("vg", street)
    found = evaluate_dataset(
        data, Model.of(encoders["any"]), heading_known=False, variant=variant, rule="vg"
    )
    assert found.recalls["R@1"] == pytest.approx(PLACES / (PLACES + 1), abs=0.16)
    assert found.to_dict()["variant"] == variant
    assert found.curves()[0].name == "R@K"


def test_variants_that_do_not_fit(street, encoders):
    data = open_dataset("vg", street)
    for variant in ("single_query", "five_crops", "nearest_crop"):
        with pytest.raises(EncoderError, match="reads pictures of 24 × 32 alone"):
            evaluate_dataset(
                data, Model.of(encoders["fixed"]), heading_known=False, variant=variant
            )
    for variant in ("central_crop", "five_crops", "maj_voting"):
        evaluate_dataset(data, Model.of(encoders["square"]), heading_known=False, variant=variant)
    with pytest.raises(DatasetError, match="merges lists"):
        evaluate_dataset(
            data,
            Model.of(encoders["any"]),
            heading_known=False,
            variant="maj_voting",
            rule="strict",
        )


def test_what_a_query_is_shown_as(encoders):
    branch = encoders["any"].card.branches.query
    pixels = np.arange(40 * 100 * 3, dtype=np.uint32).reshape(40, 100, 3).astype(np.uint8)
    single = crops_of(pixels, "single_query", branch)
    assert single.shape == (1, 24, 60, 3)
    tall = crops_of(pixels.transpose(1, 0, 2), "single_query", branch)
    assert tall.shape == (1, 60, 24, 3)
    crops = crops_of(pixels, "nearest_crop", branch)
    assert crops.shape == (5, 24, 24, 3)
    assert np.array_equal(crops[0], single[0][:, :24]) and np.array_equal(
        crops[1], single[0][:, 36:]
    )
    assert np.array_equal(crops[2], crops[0]) and np.array_equal(crops[4], single[0][:, 18:42])
    centre = crops_of(pixels, "central_crop", branch)
    # 24/40 is the larger scale, so 24 x 60 pixels are picked, and the middle 32 of their columns kept.
    rows, columns = (np.arange(24) / 0.6).astype(int), (np.arange(60) / 0.6).astype(int)
    assert np.array_equal(centre[0], pixels[rows][:, columns[14:46]])


def slow_merge(distances, predictions, weight=0.0):
    """The definition, one step after another: votes lower distances, then the least distance of each reference."""
    merged = []
    for own, predicted in zip(distances.astype(np.float64), predictions, strict=True):
        for depth in (1, 5, 10) if weight else ():
            columns = predicted[:, :depth]
            votes = {int(v): int((columns == v).sum()) for v in columns.ravel()}
            for row in range(len(columns)):
                for column in range(columns.shape[1]):
                    count = votes[int(columns[row, column])]
                    if count > 1:
                        own[row, column] -= weight * count / depth
        least: dict[int, float] = {}
        for value, distance in zip(predicted.ravel(), own.ravel(), strict=True):
            least[int(value)] = min(distance, least.get(int(value), np.inf))
        merged.append(sorted(least, key=lambda v: least[v])[: predicted.shape[1]])
    return np.array(merged)


def test_merging_lists():
    rng = np.random.default_rng(0)
    predictions = np.stack(
        [np.stack([rng.permutation(40)[:20] for _ in range(5)]) for _ in range(30)]
    )
    distances = np.sort(rng.uniform(0, 1, predictions.shape), axis=2).astype(np.float32)
    before = distances.copy()
    assert np.array_equal(merge_nearest(distances, predictions), slow_merge(distances, predictions))
    voted = merge_majority(distances, predictions, 0.05)
    assert np.array_equal(voted, slow_merge(distances, predictions, 0.05))
    assert (voted != merge_nearest(distances, predictions)).any()
    assert np.array_equal(distances, before)


# ---------------------------------------------------------------- components and curves


def test_shorter_descriptors(street, encoders, tmp_path):
    data, model = open_dataset("vg", street), Model.of(encoders["fixed"])
    found = evaluate_dataset(data, model, heading_known=False, pca=4)
    assert found.recalls["R@1"] >= 0.7 and found.to_dict()["pca"] == 4
    references, _ = describe_references(data, model)
    fitted = fit_pca(references, 4)
    queries = describe_queries(data, model, Asked(heading_known=False)).block(0, PLACES)[:, 0]
    away = np.linalg.norm(
        fitted.transform(queries)[:, None] - fitted.transform(references)[None], axis=2
    )
    assert found.first[:PLACES, 0].tolist() == away.argmin(axis=1).tolist()
    for i in range(9):
        picture(tmp_path / f"train/{i}.jpg", 100 + i, (48, 32))
    other = evaluate_dataset(
        data, model, heading_known=False, pca=4, pca_on=tmp_path / "train", rule="strict"
    )
    assert other.recalls["R@1"] >= 0.5
    store = Store(tmp_path / "kept")
    for sides in ((), ("reference", "query", "components")):
        assert (
            sides
            == evaluate_dataset(
                data, model, heading_known=False, pca=4, pca_on=tmp_path / "train", store=store
            ).from_store
        )
    with pytest.raises(DatasetError, match="at most 6"):
        evaluate_dataset(data, model, heading_known=False, pca=7)
    with pytest.raises(DatasetError, match="holds no pictures"):
        evaluate_dataset(data, model, heading_known=False, pca=2, pca_on=tmp_path / "nowhere")


def test_curves():
    better = np.array([0, 0, 3, 150, 999])
    curve = recall_curve(better, 1000)
    at = dict(zip(curve.x.astype(int).tolist(), curve.recall.tolist(), strict=True))
    assert (
        at[1] == pytest.approx(0.4) and at[3] == pytest.approx(0.4) and at[4] == pytest.approx(0.6)
    )
    assert at[100] == pytest.approx(0.6) and at[1000] == 1
    assert (np.diff(curve.recall) >= 0).all() and (np.diff(curve.x) > 0).all()
    near = distance_curve(np.array([25.0, 25.5, np.inf, 0.0]))
    assert near.recall[[0, 24, 25, 26, 200]].tolist() == [0.25, 0.25, 0.5, 0.75, 0.75]
    assert recall_curve(np.array([0]), 1).x.tolist() == [1]


def test_curves_on_disk(tmp_path):
    import xml.etree.ElementTree as ElementTree

    curves = [recall_curve(np.array([0, 4]), 50), distance_curve(np.array([3.0, np.inf]))]
    write_curves(tmp_path / "c.csv", curves, "t")
    lines = (tmp_path / "c.csv").read_text().splitlines()
    assert lines[0] == "curve,x,recall" and lines[1] == "R@K,1,0.500000"
    assert lines[-1] == "R@1<m,200,0.500000" and len(lines) == 1 + 50 + 201
    assert curves_csv([]) == "curve,x,recall\n"
    write_curves(tmp_path / "c.svg", curves, "a < b & c")
    root = ElementTree.parse(tmp_path / "c.svg").getroot()
    lines = [e for e in root.iter() if e.get("stroke-width") == "2"]
    assert len(lines) == 2 and "a < b & c" in "".join(root.itertext())
    width = float(root.get("width", 0))
    for line in lines:
        points = [tuple(map(float, p.split(","))) for p in line.get("points", "").split()]
        assert all(0 <= x <= width and 0 <= y <= 320 for x, y in points)
        assert all(b[0] >= a[0] and b[1] <= a[1] for a, b in itertools.pairwise(points))
    write_curves(
        tmp_path / "one.svg", [Curve("x", "x", np.array([1.0]), np.array([1.0]), True)], ""
    )
    ElementTree.parse(tmp_path / "one.svg")
    write_curves(tmp_path / "c.PNG", curves, "a < b & c")
    with Image.open(tmp_path / "c.PNG") as image:
        assert image.format == "PNG" and image.size == (2 * width, 640)
        drawn = np.asarray(image.convert("RGB")).astype(int)
    # Half of the queries are found at once and half never: a blue line at 50 %, in the middle of the panel.
    blue = (drawn[..., 2] - drawn[..., 0] > 60).nonzero()
    top, bottom = 2 * 34, 2 * (320 - 46)
    assert blue[0].min() >= top - 2 and blue[0].max() <= bottom + 2
    assert ((blue[0] > (top + bottom) / 2 - 4) & (blue[0] < (top + bottom) / 2 + 4)).sum() > 400
    with pytest.raises(NadirError, match="a table or a picture"):
        write_curves(tmp_path / "c.pdf", curves, "")
