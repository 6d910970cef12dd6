"""Every layout of descriptors: what it finds, with filters and threads, and files of it that mean harm."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from engine.cli import main
from engine.errors import Cancelled, IndexFolderError
from engine.index.arrays import ArraysWriter, open_arrays
from engine.index.filters import Allowed
from engine.index.graph import GraphStore
from engine.index.halves import Halves
from engine.index.inverted import InvertedStore
from engine.index.layouts import NAMES, choose_layout, parse_layout
from engine.index.lists import packed
from engine.index.measure import Facts, memory, recall
from engine.index.scan import scan
from engine.index.synthetic import synthetic
from engine.index.vector_store import StoreFacts, VectorStore, open_store, write_store

COUNT, DIMENSION = 3000, 32
LAYOUTS = (*NAMES, "PCA16,SQfp16", "PCAR16,IVF20,SQ4", "OPQ8_16,IVF1100,PQ8x4fs", "IVF30,PQ8")


def put(folder: Path, layout: str, rows: np.ndarray, step: int = 700, **more: Any) -> StoreFacts:
    folder.mkdir(exist_ok=True)
    parts = [rows[i : i + step] for i in range(0, len(rows), step)]
    return write_store(folder, layout, lambda: parts, len(rows), rows.shape[1], **more)


def get(folder: Path, facts: StoreFacts, rows: np.ndarray) -> VectorStore:
    count, dimension = rows.shape
    return open_store(folder, Facts(count, dimension, facts.factory, dict.fromkeys(facts.files)))


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.concatenate(list(synthetic(COUNT, DIMENSION).parts()))


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return synthetic(COUNT, DIMENSION).photos(60)[0]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, rows: np.ndarray):
    folder = tmp_path_factory.mktemp("layouts")
    return {
        layout: (folder / str(i), put(folder / str(i), layout, rows))
        for i, layout in enumerate(LAYOUTS)
    }


def truth(rows: np.ndarray, queries: np.ndarray, k: int, may: np.ndarray | None = None):
    scores = queries.astype(np.float64) @ rows.astype(np.float16).astype(np.float64).T
    if may is not None:
        scores[:, ~may] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def everything(store: VectorStore) -> None:
    """Look at all of it."""
    if isinstance(store, InvertedStore):
        store.probes, store.short = store.list_count, store.count
    if isinstance(store, GraphStore):
        store.breadth = store.count


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_found(written, rows: np.ndarray, queries: np.ndarray, layout: str) -> None:
    folder, facts = written[layout]
    store = get(folder, facts, rows)
    assert (store.count, store.dimension, store.factory) == (COUNT, DIMENSION, facts.factory)
    best = truth(rows, queries, 10)
    first = store.search(queries, 10)[1]
    assert recall(first, best, 10) > (0.3 if layout == "imi" else 0.85)
    everything(store)
    scores, ids = store.search(queries, 10)
    assert recall(ids, best, 10) > 0.97
    assert (np.diff(scores, axis=1) <= 0).all()
    kept = store.vectors(ids[0])
    assert np.abs(kept - rows[ids[0]]).max() < 0.01
    assert np.abs(kept @ queries[0] - scores[0]).max() < 1e-3
    few = get(folder, facts, rows).search(queries[:7], 10)[1]
    assert (few == first[:7]).mean() > 0.98, "sums in another order may round apart"
    store.close()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_for_any_number_of_threads(
    written, rows: np.ndarray, queries: np.ndarray, layout: str
) -> None:
    folder, facts = written[layout]
    store = get(folder, facts, rows)
    before = faiss.omp_get_max_threads()
    try:
        answers = []
        for threads in (1, 2, 5):
            faiss.omp_set_num_threads(threads)
            answers.append(store.search(queries, 20))
    finally:
        faiss.omp_set_num_threads(before)
    for scores, ids in answers[1:]:
        assert (ids == answers[0][1]).all() and (scores == answers[0][0]).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ten_results_mean_ten(
    written, rows: np.ndarray, queries: np.ndarray, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few allowed rows are scanned; here many means more than 100, so that the lists and the graph answer too."""
    for module in ("inverted", "graph"):
        monkeypatch.setattr(f"engine.index.{module}.FEW", 100)
    folder, facts = written[layout]
    store = get(folder, facts, rows)
    rng = np.random.default_rng(0)
    for share, least in ((0.0, 1.0), (0.02, 0.95), (0.1, 0.6), (0.9, 0.6)):
        may = rng.random(COUNT) < share
        allowed = Allowed.of_mask(may)
        scores, ids = store.search(queries, 12, allowed)
        assert ids.shape == scores.shape == (len(queries), min(12, may.sum()))
        assert may[ids].all() and all(len(set(row)) == len(row) for row in ids.tolist())
        if share:
            floor = 0.2 if layout == "imi" else least
            assert recall(ids, truth(rows, queries, 12, may), 10) >= floor
    everyone = store.search(queries[:3], COUNT + 5)[1]
    assert (np.sort(everyone, axis=1) == np.arange(COUNT)).all()
    with pytest.raises(ValueError, match="not of 3000"):
        store.search(queries, 3, Allowed.of_mask(np.ones(COUNT + 1, np.bool_)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_search_can_be_cancelled(written, rows, queries, layout: str) -> None:
    folder, facts = written[layout]
    store = get(folder, facts, rows)

    def stop(done: int, total: int, text: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        store.search(queries, 5, None, stop)
    assert store.search(queries, 5)[1].shape == (60, 5)


@pytest.mark.parametrize("layout", ["exact", "sq8", "ivf-pq", "imi", "hnsw"])
def test_the_same_vectors_give_the_same_bytes(written, rows, tmp_path: Path, layout: str) -> None:
    """However they come, and over what a broken build left."""
    (tmp_path / "again").mkdir()
    for name in ("vectors.f16", "vectors.faiss", "vectors.arrays"):
        (tmp_path / "again" / name).write_bytes(b"half a file")
    facts = put(tmp_path / "again", layout, rows, step=1111)
    first = written[layout][0]
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == sorted(facts.files)
    for name in facts.files:
        assert (tmp_path / "again" / name).read_bytes() == (first / name).read_bytes()


def test_layouts_by_size_and_memory() -> None:
    chosen = [choose_layout("auto", count, 512).name for count in (9, 10_000, 10**5, 10**6, 10**8)]
    assert chosen == ["exact", "exact", "sq8", "ivf-pq", "ivf-pq"]
    assert choose_layout("auto", 100_000, 512, memory=20_000_000).name == "ivf-pq"
    wide, narrow = (choose_layout("auto", 10**7, 512, memory=m) for m in (10**9, 3 * 10**8))
    assert wide.pieces > narrow.pieces and narrow.memory(10**7) <= 3 * 10**8
    for name in NAMES:
        assert choose_layout(name, 5000, 48).name == name
        for count, dimension in ((300, 48), (10**6, 1536), (2_800_000, 512), (40_000, 7)):
            layout = choose_layout(name, count, dimension)
            assert parse_layout(layout.factory, dimension) == layout


@pytest.mark.parametrize(
    "factory",
    [
        "",
        "Flat",
        "IVF0,SQ8",
        "IVF4294967296,SQ8",
        "IVF9999999,SQ8",
        "IMI2x30,PQ8",
        "IMI2x0,PQ8",
        "PQ7",
        "PQ8x12",
        "PQ8x8fs",
        "PQ9999x4fs",
        "OPQ0,PQ8",
        "OPQ8_9999,PQ8",
        "PCA0,SQ8",
        "PCA99999,SQ8",
        "HNSW1",
        "HNSW999",
        "IVF4,SQ8,Refine(Flat)",
        "SQ8" * 999,
        "IVF4,SQ8\n",
        "ＩＶＦ４,SQ8",
    ],
)
def test_factories_from_strangers(factory: str, tmp_path: Path) -> None:
    with pytest.raises(IndexFolderError) as caught:
        parse_layout(factory, 32)
    assert len(str(caught.value)) < 400
    with pytest.raises(IndexFolderError):
        open_store(tmp_path, Facts(100, 32, factory, {"vectors.f16": 1, "vectors.arrays": 1}))


def test_layouts_that_do_not_go_with_the_vectors(tmp_path: Path) -> None:
    for layout, count in (("IVF500,SQ8", 400), ("PCA16,SQ8", 9), ("PQ8", 200), ("ivf-pq", 5)):
        with pytest.raises(IndexFolderError, match="needs at least"):
            choose_layout(layout, count, 32)
    with pytest.raises(IndexFolderError, match=r"does not list vectors\.arrays"):
        open_store(tmp_path, Facts(100, 32, "IVF4,SQ8", {"vectors.f16": 1}))
    with pytest.raises(IndexFolderError, match="cannot be read"):
        open_store(tmp_path, Facts(100, 32, "SQfp16", {"vectors.f16": 1}))


def test_codes_are_packed_as_faiss_packs_them(rows: np.ndarray) -> None:
    for pieces in (8, 2, 1):
        index: Any = faiss.index_factory(DIMENSION, f"IVF9,PQ{pieces}x4fs")
        index.train(rows)
        index.add(rows)
        index.by_residual = False
        lists = faiss.downcast_InvertedLists(index.invlists)
        where = faiss.downcast_index(index.quantizer).search(rows, 1)[1][:, 0]
        codes = index.pq.compute_codes(rows)
        for number in range(9):
            mine = packed(codes[where == number], pieces)
            theirs = faiss.rev_swig_ptr(lists.get_codes(number), mine.size)
            assert (mine == theirs).all()


SPOILED: dict[str, Callable[[dict[str, np.ndarray]], object]] = {
    "a centre is no number": lambda a: a["centres"].__setitem__((0, 0), np.nan),
    "a centre is huge": lambda a: a["centres"].__setitem__((0, 0), 1e30),
    "a rotation without end": lambda a: a["rotation"].__setitem__((1, 1), np.inf),
    "a piece is no number": lambda a: a["pieces"].__setitem__((0, 0, 0), np.nan),
    "a list is negative": lambda a: a["sizes"].__setitem__(0, -1),
    "a list is longer": lambda a: a["sizes"].__setitem__(0, a["sizes"][0] + 64),
    "lists have swapped": lambda a: a["sizes"].__setitem__(slice(0, 2), (2**31 - 1, -(2**31))),
    "no effort": lambda a: a["effort"].__setitem__(0, 0),
    "no end of effort": lambda a: a["effort"].__setitem__(1, 2**31 - 1),
    "bytes are missing": lambda a: a.__setitem__("lists", a["lists"][:-64]),
    "one list less": lambda a: a.__setitem__("sizes", a["sizes"][:-1]),
    "another type": lambda a: a.__setitem__("sizes", a["sizes"].astype(np.int64)),
    "a stranger among them": lambda a: a.__setitem__("more", np.zeros(3, np.float32)),
    "one missing": lambda a: a.pop("spread"),
}


def parts_of(file: Path) -> dict[str, np.ndarray]:
    data = file.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    kinds = {"U8": "u1", "I32": "<i4", "F32": "<f4"}
    found = {}
    for name, facts in header.items():
        first, last = (8 + length + at for at in facts["data_offsets"])
        found[name] = np.frombuffer(data[first:last], kinds[facts["dtype"]]).copy()
        found[name] = found[name].reshape(facts["shape"])
    return found


def write_parts(file: Path, arrays: dict[str, np.ndarray]) -> None:
    with ArraysWriter(file, {name: (v.dtype, v.shape) for name, v in arrays.items()}) as writer:
        for name, values in arrays.items():
            writer.add(name, values)


@pytest.mark.parametrize("what", SPOILED)
def test_lists_from_strangers(written, rows, tmp_path: Path, what: str) -> None:
    folder, facts = written["ivf-pq"]
    spoiled = Path(shutil.copytree(folder, tmp_path / "spoiled"))
    arrays = parts_of(spoiled / "vectors.arrays")
    SPOILED[what](arrays)
    write_parts(spoiled / "vectors.arrays", arrays)
    with pytest.raises(IndexFolderError, match=r"vectors\.arrays|spoiled"):
        get(spoiled, facts, rows)


def test_lists_that_name_rows_that_are_not_there(written, rows, queries, tmp_path: Path) -> None:
    folder, facts = written["ivf-sq8"]
    spoiled = Path(shutil.copytree(folder, tmp_path / "spoiled"))
    arrays = parts_of(spoiled / "vectors.arrays")
    arrays["lists"].view(np.uint64)[:] = 1 << 62
    write_parts(spoiled / "vectors.arrays", arrays)
    store = get(spoiled, facts, rows)
    with pytest.raises(IndexFolderError, match="rows that the index does not have"):
        store.search(queries, 10)
    # A filter never lets a row through that it does not know; what is missing is found exactly.
    may = np.arange(COUNT) % 2 == 0
    ids = store.search(queries, 10, Allowed.of_mask(may))[1]
    assert (ids == truth(rows, queries, 10, may)).mean() > 0.95


@pytest.mark.parametrize("what", ["outside", "below", "above", "entry", "levels", "effort"])
def test_graphs_from_strangers(written, rows, tmp_path: Path, what: str) -> None:
    folder, facts = written["hnsw"]
    spoiled = Path(shutil.copytree(folder, tmp_path / "spoiled"))
    arrays = parts_of(spoiled / "vectors.arrays")
    high = int(np.flatnonzero(arrays["levels"] > 1)[0])
    starts = np.concatenate([[0], np.cumsum((arrays["levels"] + 1) * 32)])
    match what:
        case "outside":
            arrays["neighbours"][5] = COUNT
        case "below":
            arrays["neighbours"][5] = -2
        case "above":  # a link on a level that the vector it leads to does not have
            arrays["neighbours"][starts[high] + 64] = int(np.flatnonzero(arrays["levels"] == 1)[0])
        case "entry":
            arrays["entry"][0] = COUNT + 7
        case "levels":
            arrays["levels"][3] = 20
        case _:
            arrays["effort"][0] = -1
    write_parts(spoiled / "vectors.arrays", arrays)
    with pytest.raises(IndexFolderError, match=r"vectors\.arrays"):
        get(spoiled, facts, rows)


@pytest.mark.parametrize("seed", range(40))
def test_any_bytes_in_a_header(tmp_path: Path, seed: int) -> None:
    """Whatever the header says, the file is read as what it is or refused; nothing is allocated by its word."""
    file = tmp_path / "vectors.arrays"
    values = {"a": np.arange(6, dtype=np.int32).reshape(2, 3), "b": np.ones(5, np.float32)}
    write_parts(file, values)
    wanted = {"a": ("<i4", (2, 3)), "b": ("<f4", (-1,))}
    assert (open_arrays(file, wanted)["a"] == values["a"]).all()
    data = bytearray(file.read_bytes())
    rng = np.random.default_rng(seed)
    for _ in range(rng.integers(1, 5)):
        data[rng.integers(0, 130)] = rng.integers(0, 256)
    file.write_bytes(data[: rng.integers(0, len(data))] if seed % 3 == 0 else data)
    try:
        found = open_arrays(file, wanted)
    except IndexFolderError as error:
        assert "vectors.arrays" in str(error)
    else:
        assert found["a"].shape == (2, 3) and found["b"].shape == (5,)


def test_a_scan_keeps_no_file_in_memory(tmp_path: Path) -> None:
    if memory() is None:
        pytest.skip("this system does not say what is mapped")
    count, dimension = 160_000, 512  # 164 MB
    rng = np.random.default_rng(0)
    block = rng.standard_normal((10_000, dimension)).astype(np.float16)
    with open(tmp_path / "vectors.f16", "wb") as file:
        for _ in range(count // len(block)):
            block.tofile(file)
    halves = Halves(tmp_path / "vectors.f16", count, dimension)
    queries = rng.standard_normal((2, dimension)).astype(np.float32)
    scan(halves, queries[:1], 1, np.arange(50))
    before = memory()
    scores, ids = scan(halves, queries, 20)
    halves.take(rng.integers(0, count, 5000))
    after = memory()
    assert before is not None and after is not None
    assert sum(after) - sum(before) < 60e6
    # The same rows come sixteen times, and equal scores go by id.
    assert (ids[0][:16] == ids[0][0] + 10_000 * np.arange(16)).all()
    assert (np.diff(scores, axis=1) <= 0).all()


def test_made_up_descriptors_are_like_real_ones() -> None:
    made = synthetic(16_384, 1536)
    some = made.rows(np.arange(4096)).reshape(-1, made.side, 1536)
    beside = [float((some[:, :-lag] * some[:, lag:]).sum(-1).mean()) for lag in (1, 2, 20)]
    assert beside == pytest.approx([0.68, 0.42, 0.18], abs=0.04)
    photos, ids = made.photos(200)
    assert float((photos * made.rows(ids)).sum(1).mean()) == pytest.approx(0.23, abs=0.03)
    assert (synthetic(500, 64).rows(np.arange(9)) == synthetic(500, 64).rows(np.arange(9))).all()
    whole = np.concatenate(list(made.parts(4096)))[4096:4099]
    assert np.abs(whole - made.rows(np.array([4096, 4097, 4098]))).max() < 1e-5


def test_nadir_index_measure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    asked = ["index", "measure", "--synthetic", "2000", "--dimension", "32", "--queries", "30"]
    asked += ["--work", str(tmp_path), "--layouts", "exact", "PCA16,SQfp16", "IVF16,SQ8"]
    assert main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["vectors"] == 2000
    exact, short, lists = told["layouts"]
    assert exact["found"]["photos"]["recall"] == {"1": 1.0, "5": 1.0, "10": 1.0, "20": 1.0}
    assert exact["disk"] == 2000 * 32 * 2 and lists["factory"] == "IVF16,SQ8"
    assert 0.3 < short["found"]["tiles"]["recall"]["1"] <= 1.0
    assert list(tmp_path.iterdir()) == []
    assert main([*asked[:2]]) == 1
    assert "give an index or --synthetic" in capsys.readouterr().err
    assert main([*asked, "IVF0,SQ8"]) == 1
    assert "IVF0,SQ8" in capsys.readouterr().err
