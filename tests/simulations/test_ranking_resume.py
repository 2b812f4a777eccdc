"""What a second ranking simulation into the same folder takes over, and what makes it start anew."""

import io
import os

import numpy as np
import pytest

from data import DataError, synthetic
from simulations import ranking_tables as tables_module
from simulations.ranking_settings import RankingSettings
from simulations.ranking_tables import ranking_tables
from simulations.ranking_trees import fit_trees, parameters
from slicing.progress import LineProgress

FEATURES = [f"f{i + 1}" for i in range(6)]


@pytest.fixture
def counted(monkeypatch):
    """How often tables were made."""
    calls = []
    made = tables_module._made
    monkeypatch.setattr(tables_module, "_made", lambda *given: (calls.append(1), made(*given))[1])
    return calls


@pytest.fixture(scope="module")
def parts():
    return [synthetic(30, 20, 6, first_query=first) for first in (0, 100)]


class TestTables:
    def test_the_same_input_is_prepared_once_and_the_terminal_says_so(self, tmp_path, counted):
        settings, lines = RankingSettings(tmp_path), io.StringIO()
        first = ranking_tables(settings)
        second = ranking_tables(settings, LineProgress(lines))
        assert len(counted) == 1
        assert second.meta == first.meta
        assert "the input has not changed" in lines.getvalue()

    def test_another_seed_or_a_damaged_folder_is_prepared_anew(self, tmp_path, counted):
        first = ranking_tables(RankingSettings(tmp_path))
        assert ranking_tables(RankingSettings(tmp_path, seed=1)).meta["fingerprint"] != first.meta["fingerprint"]
        assert len(counted) == 2
        (tmp_path / "data" / "fold1" / "test.parquet").unlink()
        ranking_tables(RankingSettings(tmp_path, seed=1))
        assert len(counted) == 3

    def test_changed_originals_are_prepared_anew(self, tmp_path, monkeypatch):
        originals = tmp_path / "originals"
        originals.mkdir()
        (originals / "ratings.dat").write_text("1")
        before = tables_module._fingerprint(originals)
        assert tables_module._fingerprint(originals) == before
        os.utime(originals / "ratings.dat", ns=(1, 1))
        assert tables_module._fingerprint(originals) != before
        os.utime(originals / "ratings.dat", ns=(2, 2))
        changed = tables_module._fingerprint(originals)
        (originals / "users.dat").write_text("2")
        assert tables_module._fingerprint(originals) != changed
        assert len(tables_module._fingerprint(originals / "users.dat")) == 32
        with pytest.raises(DataError):  # the files are no MovieLens; nothing of them is noted as made
            ranking_tables(RankingSettings(tmp_path / "out", data="movielens", data_dir=originals))
        assert not (tmp_path / "out" / "data.json").exists()


class TestTrees:
    def fit(self, parts, path, seed=0, **more):
        return fit_trees(*parts, FEATURES, parameters(seed, 10), 12, path, **more)

    def test_finished_trees_are_read_back_and_progress_counts_them(self, parts, tmp_path, monkeypatch):
        lines = io.StringIO()
        first = self.fit(parts, tmp_path / "trees.txt", progress=LineProgress(lines, every=0.0))
        assert "1/12 trees" in lines.getvalue()
        monkeypatch.setattr("lightgbm.train", lambda *_, **__: pytest.fail("trained again"))
        lines = io.StringIO()
        again = self.fit(parts, tmp_path / "trees.txt", resume=True, progress=LineProgress(lines))
        assert "read from trees.txt" in lines.getvalue()
        x = parts[0].select(FEATURES).to_numpy()
        np.testing.assert_array_equal(first.predict(x), again.predict(x))
        assert again.current_iteration() == first.current_iteration() <= 12

    @pytest.mark.parametrize("change", ["no resume", "seed", "table", "no note"])
    def test_other_input_trains_anew(self, parts, tmp_path, monkeypatch, change):
        path = tmp_path / "trees.txt"
        self.fit(parts, path)
        trained = []
        import lightgbm

        train = lightgbm.train
        monkeypatch.setattr("lightgbm.train", lambda *a, **k: (trained.append(1), train(*a, **k))[1])
        if change == "no note":
            (tmp_path / "trees.json").write_text("{")
        given = [parts[0].with_columns(f1=-parts[0]["f1"]), parts[1]] if change == "table" else parts
        self.fit(given, path, seed=int(change == "seed"), resume=change != "no resume")
        assert trained == [1]
