"""report.html: what it says, that it stands alone, and that a half-written run is no obstacle."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from asnn_goose.report.charts import MOST_POINTS, thin
from asnn_goose.report.page import ReportError, write_report
from asnn_goose.report.run_files import read_steps, summaries


def step(number: int, stage: int, terms: dict[str, float]) -> dict[str, Any]:
    return {
        "stage": f"stage <{stage}>",
        "stage_index": stage,
        "stages": 2,
        "step": number - 3 * stage,
        "steps": 3,
        "run_step": number,
        "tokens_seen": 100 * number,
        "tokens_total": 600,
        "loss": sum(terms.values()),
        "terms": terms,
        "lr": 1e-3,
        "grad_norm": 0.5,
        "tokens_per_s": 40.0,
        "eta_s": 1.0,
        "memory_bytes": 2_000_000_000 + number,
        "seconds": 60.0 * number if not stage else 60.0 * number + 60.0,
    }


STEPS = [
    *(step(n, 0, {"attention_output": 1.0 / n}) for n in (1, 2, 3)),
    *(step(n, 1, {"kl": 2.0 / n, "ce": 3.0}) for n in (4, 5, 6)),
]

SCORES = {
    "ratios": {"austen": 1.5},
    "measurements": [
        {
            "text": "austen",
            "model": model,
            "score": {"tokens": 1234},
            "perplexity": value,
            "bits_per_byte": None,
        }
        for model, value in (("teacher", 20.0), ("student", 30.0))
    ],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "my & run"
    folder.mkdir()
    lines = "".join(json.dumps(one) + "\n" for one in STEPS)
    (folder / "metrics.jsonl").write_text(lines)
    (folder / "recipe.toml").write_text('name = "<b>"\n')
    return folder


class Page(HTMLParser):
    """Tags with their attributes, cells of tables, and that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: dict[str, list[str]] = {}
        self._table = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)
        if tag == "table":
            self._table = dict(attrs)["class"] or ""
        if tag == "td":
            self.tables.setdefault(self._table, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["td"]:
            self.tables[self._table][-1] += data


def drawn(text: str) -> dict[str, Any]:
    """The charts of a page, by their titles."""
    begin = text.index('type="application/json">') + len('type="application/json">')
    found = json.loads(text[begin : text.index("</script>", begin)])
    return {chart["title"]: chart for chart in found.values()}


def test_the_page_has_stages_scores_curves_and_recipe(run: Path) -> None:
    (run / "eval.json").write_text(json.dumps(SCORES))
    file = write_report(run)
    assert file == run / "report.html"
    text = file.read_text()
    page = Page(text)
    assert page.open == []
    stages = page.tables["stages"]
    assert stages[:5] == ["stage <0>", "3", "300", "3.0", "2"]
    assert stages[7] == "attention_output 0.3333"
    # The second stage's own tokens and minutes, not those of the run.
    assert stages[8:13] == ["stage <1>", "3", "300", "4.0", "1"]
    # Bits per byte are not known, so their cell is empty, and so is the error.
    row = ["austen", "student", "1,234", "30.00", "", "", "", "1.500"]
    assert page.tables["scores"][-8:] == row
    assert page.tables["beside"][:4] == ["my & run", "600", "austen 30.00", "austen 1.500"]
    assert "600 of 600 tokens (100%)" in text
    assert "my &amp; run" in text
    assert "name = &#34;&lt;b&gt;&#34;" in text
    charts = drawn(text)
    losses = {one["name"]: one["points"] for one in charts["losses, weighted"]["series"]}
    assert losses["kl"] == [[400.0, 0.5], [500.0, 0.4], [600.0, 0.33333]]
    assert [mark["label"] for mark in charts["losses, weighted"]["marks"]] == [
        "stage <0>",
        "stage <1>",
    ]
    perplexity = {one["name"]: one for one in charts["perplexity"]["series"]}
    assert perplexity["austen, teacher"]["points"] == [[0.0, 20.0], [600.0, 20.0]]
    assert perplexity["austen, teacher"]["dashed"]
    assert perplexity["austen, student"]["points"] == [[600.0, 30.0]]
    assert {"learning rate", "tokens a second", "gradient norm"} <= set(charts)
    assert text.count("<figure data-chart=") == len(charts)


def test_validation_is_a_curve_of_perplexity(run: Path) -> None:
    steps = [one | {"readings": {"validation.ce": float(n)}} for n, one in enumerate(STEPS)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in steps))
    (series,) = drawn(write_report(run).read_text())["perplexity"]["series"]
    assert (series["name"], series["points"][0]) == ("validation", [100.0, 1.0])
    assert series["points"][2][1] == pytest.approx(7.3891)


def test_the_page_loads_nothing(run: Path) -> None:
    page = Page(write_report(run).read_text())
    links = [value or "" for name, value in page.attributes if name in ("src", "href")]
    assert all(link.startswith("#") for link in links)


def test_words_of_a_user_end_no_script(run: Path) -> None:
    name = "</script><script>alert(1)</script>"
    lines = [one | {"stage": name, "terms": {name: 1.0}} for one in STEPS]
    (run / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    text = write_report(run).read_text()
    assert "alert(1)</script>" not in text
    assert drawn(text)["losses, weighted"]["series"][0]["name"] == name


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert not list(run.glob(".*"))


def test_a_last_line_cut_short_is_left_out(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "al')
    assert len(read_steps(run / "metrics.jsonl")) == len(STEPS)
    write_report(run)


def test_damage_in_the_middle_is_an_error(run: Path) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([lines[0], "{", *lines[1:]]))
    with pytest.raises(ReportError, match=r"metrics\.jsonl line 2"):
        write_report(run)
    for wrong in ({"tokens_seen": "many"}, {"terms": [1]}, {"seconds": None}):
        spoilt = json.dumps(json.loads(lines[1]) | wrong)
        (run / "metrics.jsonl").write_text("\n".join([lines[0], spoilt, lines[2]]))
        with pytest.raises(ReportError, match=r"metrics\.jsonl line 2 is no step"):
            write_report(run)
    (run / "metrics.jsonl").write_text(lines[0])
    (run / "eval.json").write_text("{")
    with pytest.raises(ReportError, match=r"eval\.json"):
        write_report(run)


def test_nothing_to_report_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="holds no step"):
        write_report(tmp_path)
    (tmp_path / "eval.json").write_text("[1]")
    with pytest.raises(ReportError, match="holds no measurements"):
        write_report(tmp_path)


def test_several_runs_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "eval.json").write_text(json.dumps(SCORES))
    target = write_report(run, other, out=tmp_path / "new" / "ladder.html")
    page = Page(target.read_text())
    assert page.tables["beside"][::7] == ["my & run", "other"]
    assert ("href", "#run-1") in page.attributes
    assert page.tables["stages"]


def test_stages_count_their_own(run: Path) -> None:
    first, second = summaries(STEPS)
    assert (first.tokens, first.seconds) == (300, 180.0)
    assert (second.tokens, second.seconds) == (300, 240.0)


@pytest.mark.parametrize("count", [1, MOST_POINTS, MOST_POINTS + 1, 10 * MOST_POINTS + 7])
def test_thinning_keeps_the_mean_and_the_order(count: int) -> None:
    points = [(float(n), float(n % 3)) for n in range(count)]
    thinned = thin(points)
    assert len(thinned) <= MOST_POINTS
    assert [x for x, _ in thinned] == sorted(x for x, _ in thinned)
    if count <= MOST_POINTS:
        assert thinned == points
    assert thinned[0][0] == sum(range(-(-count // MOST_POINTS))) / -(-count // MOST_POINTS)


def test_losses_that_are_not_positive_are_drawn(run: Path) -> None:
    one = json.dumps(step(1, 0, {"kl": -0.1}))
    (run / "metrics.jsonl").write_text(one)
    assert drawn(write_report(run).read_text())["losses, weighted"]["log"] is False
