from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import pytest
from lxml import html

from rag.errors import InputError
from rag.evaluation import beir, report, report_colours, scoring
from rag.evaluation.measure import evaluate, truncations
from rag.evaluation.results import (
    CASES,
    MEASURES,
    CaseRow,
    Cell,
    Comparison,
    Difference,
    Evaluation,
    Interval,
    Measure,
    Preference,
    Translations,
    Truncation,
)
from rag.evaluation.significance import compare
from rag.fusion import Ranking
from rag.ports import Embedder
from tests.evaluation_data import write_dataset

WRITTEN = datetime(2025, 3, 1, 9, 5, tzinfo=UTC)
TWELVE = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")
TAGS = """
af ar az be bg bn ca cs da de el en es et eu fa fi fr ga he hi hr hu hy id is it ja ka ko lt lv mk
nb nl pl pt ro ru zh-Hant
"""
FORTY = tuple(TAGS.split())


def interval(mean: float) -> Interval:
    return Interval(mean, max(0.0, mean - 0.031), min(1.0, mean + 0.027))


FACTORS: dict[Measure, float] = {"nDCG@10": 1, "R@1": 0.7, "R@10": 1.2, "R@100": 1.6, "RR@10": 0.9}


def values(mean: float) -> dict[Measure, Interval]:
    return {measure: interval(min(1.0, mean * factor)) for measure, factor in FACTORS.items()}


def level(first: int, second: int) -> float:
    """Made up, the same each time, spread over the whole scale."""
    return 0.93 - 0.01 * second if first == second else 0.05 + ((7 * first + 11 * second) % 60) / 100


def an_evaluation(languages: tuple[str, ...] = TWELVE, name: str = "dense") -> Evaluation:
    places = range(len(languages))
    share = 1 / len(languages)
    return Evaluation(
        name=name,
        dataset="data/xquad",
        model="pocket-m3",
        fingerprint="3f8a" * 16,
        documents=240 * len(languages),
        questions=1190 * len(languages),
        matrix=tuple(Cell(languages[q], languages[d], 1190, values(level(q, d))) for q in places for d in places),
        cases=tuple(
            CaseRow(
                case,
                None if q is None else languages[q],
                1190 if q is not None else 14280,
                values(mean + (q or 0) % 7 / 50),
            )
            for case, mean in zip(CASES, (0.35, 0.18, 0.11, 0.79), strict=True)
            for q in (None, *places)
        ),
        preferences=tuple(
            Preference(languages[q], languages[d], 0.4 + 0.6 * share if q == d else 0.6 * share * (d % 3) / 1.1, share)
            for q in places
            for d in places
        ),
        truncations=tuple(
            Truncation(size, 0.8 * (1 - 8 / size), 0.5 * (1 - 20 / size)) for size in (32, 64, 128, 256, 384, 768, 1024)
        ),
        seconds=83.4,
    )


def comparisons(languages: tuple[str, ...] = TWELVE) -> list[Comparison]:
    pairs = [
        Difference(f"{one} → {other}", measure, level(q, d), level(d, q), ((q * 13 + d * 7) % 40) / 40, 1190)
        for measure in MEASURES[:2]
        for q, one in enumerate(languages)
        for d, other in enumerate(languages)
    ]
    return [
        Comparison("dense", "sparse", (Difference("one", "nDCG@10", 0.111, 0.218, 0.00002, 14280), *pairs)),
        Comparison("dense", "hybrid", tuple(pairs)),
    ]


def parsed(text: str) -> html.HtmlElement:
    return html.document_fromstring(text)


def tables(tree: html.HtmlElement, caption: str) -> list[html.HtmlElement]:
    return [one for one in tree.iter("table") if one.find("caption").text_content() == caption]


def text_without_intervals(cell: html.HtmlElement) -> str:
    return (cell.text or "").strip()


@pytest.mark.parametrize("measure", MEASURES)
def test_each_cell_of_the_heat_map_has_its_pairs_value_and_interval(measure: Measure) -> None:
    evaluation = an_evaluation()
    (shown,) = tables(parsed(report.page([evaluation], [])), f"{measure} of every pair of languages")
    assert [th.find("code").text for th in shown.findall("thead/tr/th")] == list(TWELVE)
    cells = {(cell.question_language, cell.document_language): cell.values[measure] for cell in evaluation.matrix}
    for tr in shown.findall("tbody/tr"):
        question = tr.find("th/code").text
        for document, td in zip(TWELVE, tr.findall("td"), strict=True):
            value = cells[question, document]
            low, high = (f"{end:.3f}".removeprefix("0") for end in (value.low, value.high))
            assert text_without_intervals(td) == f"{value.mean:.3f}".removeprefix("0")
            assert td.find("small").text == f"{low}–{high}"
            assert td.get("title").startswith(f"{question} → {document}: ")
            assert f"interval {low} to {high}, 1,190 questions" in td.get("title")
            assert ("same" in td.get("class").split()) == (question == document)


def test_only_the_first_measure_is_open() -> None:
    tree = parsed(report.page([an_evaluation()], []))
    assert [one.find("summary").text for one in tree.iter("details")] == [*MEASURES[1:], *MEASURES[1:]]
    (shown,) = tables(tree, "nDCG@10 of every pair of languages")
    assert not list(shown.iterancestors("details"))


def test_a_pair_that_was_not_asked_is_an_empty_cell() -> None:
    cells = (Cell("de", "en", 3, values(0.5)), Cell("fr", "de", 3, values(0.25)))
    page = report.page([Evaluation("dense", "d", "m", "f", 2, 6, cells)], [])
    (shown,) = tables(parsed(page), "nDCG@10 of every pair of languages")
    rows = [[text_without_intervals(td) for td in tr.findall("td")] for tr in shown.findall("tbody/tr")]
    assert rows == [["–", ".500"], [".250", "–"]]


def test_languages_are_named_beside_their_tags_and_unknown_ones_are_not_named_twice() -> None:
    cells = (Cell("de", "qya", 3, values(0.5)),)
    (shown,) = tables(
        parsed(report.page([Evaluation("n", "d", "m", "f", 1, 1, cells)], [])), "R@1 of every pair of languages"
    )
    assert shown.find("tbody/tr/th").text_content() == "German de"
    assert shown.find("thead/tr/th").text_content() == "qya"


def test_the_summary_averages_pairs_within_and_across_languages() -> None:
    means = {("de", "de"): 0.8, ("en", "en"): 0.6, ("de", "en"): 0.5, ("en", "de"): 0.2}
    cells = tuple(Cell(*pair, 5, values(mean)) for pair, mean in means.items())
    rows = (CaseRow("one", None, 10, {"nDCG@10": Interval(0.111, 0.1, 0.12)}),)
    (shown,) = tables(
        parsed(report.page([Evaluation("n", "d", "m", "f", 2, 2, cells, rows)], [])), "Mean nDCG@10 of each run"
    )
    assert [td.text for td in shown.findall("tbody/tr/td")] == [".700", ".350", ".111"]
    assert shown.findall("thead/tr/th")[-1].text == f"Mixed: {CASES['one']}"


def test_a_bar_is_as_long_as_its_value_and_its_whisker_spans_the_interval() -> None:
    rows = (CaseRow("one", None, 40, values(0.2)), CaseRow("one", "ja", 40, {"nDCG@10": Interval(0.218, 0.1875, 0.25)}))
    tree = parsed(report.page([Evaluation("n", "d", "m", "f", 2, 2, (), rows)], []))
    (shown,) = tables(tree, f"one: {CASES['one']}")
    (tr,) = shown.findall("tbody/tr")
    assert tr.find("th").text_content() == "Japanese ja"
    assert [text_without_intervals(td) for td in tr.findall("td")[1:]] == [".218", "40"]
    assert tr.find(".//rect").get("width") == "21.80%"
    whisker = tr.findall(".//line")[0]
    assert (whisker.get("x1"), whisker.get("x2")) == ("18.75%", "25.00%")
    assert tr.find(".//svg/title").text == "nDCG@10 .218, 95 % interval .188 to .250"
    (overall,) = tables(tree, "nDCG@10 over all questions")
    assert overall.find("tbody/tr/th").text == f"one: {CASES['one']}"


def test_preference_is_the_share_of_the_first_ten_against_the_share_of_what_is_relevant() -> None:
    shares = (Preference("de", "de", 0.75, 0.5), Preference("de", "en", 0.25, 0.5))
    tree = parsed(report.page([Evaluation("n", "d", "m", "f", 2, 2, (), preferences=shares)], []))
    (shown,) = tables(tree, "Share of the first ten minus share of what is relevant")
    assert [td.text for td in shown.findall("tbody/tr/td")] == ["+.250", "−.250"]
    assert shown.find("tbody/tr/td").get("title") == "de → de: 75.0 % of the first ten, 50.0 % of what is relevant"
    widths = [rect.get("width") for rect in tree.iter("rect")]
    assert widths == ["75.00%", "50.00%"]


def test_lines_rise_with_the_values_and_the_table_beside_them_has_these() -> None:
    cuts = (Truncation(64, 0.6, 0.3), Truncation(32, 0.4, 0.2))
    tree = parsed(report.page([Evaluation("n", "d", "m", "f", 2, 2, (), truncations=cuts)], []))
    (shown,) = tables(tree, "Mean nDCG@10 over pairs, dense vectors alone")
    assert [[one.text for one in tr] for tr in shown.findall("tbody/tr")] == [
        ["32", ".400", ".200"],
        ["64", ".600", ".300"],
    ]
    within, across = (
        [tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in tree.iter("polyline")
    )
    assert within[0][0] < within[1][0]
    assert within[0][0] == across[0][0]
    assert within[1][1] < within[0][1] < across[1][1] < across[0][1]  # SVG counts from the top


def test_one_dimension_alone_is_drawn() -> None:
    tree = parsed(report.page([Evaluation("n", "d", "m", "f", 1, 1, (), truncations=(Truncation(384, 0.5, 0.5),))], []))
    assert [one.get("points") for one in tree.iter("polyline")] == ["237.0,14.0", "237.0,14.0"]


def test_differences_that_are_significant_are_marked_and_their_number_is_put_beside_what_chance_gives() -> None:
    compared = (
        Difference("one", "nDCG@10", 0.111, 0.218, 0.00002, 14280),
        Difference("de → ja", "nDCG@10", 0.5, 0.4375, 0.0499, 100),
        Difference("de → ko", "nDCG@10", 0.5, 0.5, 0.05, 100),
    )
    runs = [an_evaluation(("de",), "dense"), an_evaluation(("de",), "sparse")]
    tree = parsed(report.page(runs, [Comparison("dense", "sparse", compared)]))
    (shown,) = tables(tree, "nDCG@10")
    assert [th.text_content() for th in shown.findall("thead/tr/th")][1:3] == ["dense", "sparse"]
    assert [[one.text_content() for one in tr] for tr in shown.findall("tbody/tr")] == [
        [f"one: {CASES['one']}", ".111", ".218", "+.107", "< .0001 *", "14,280"],
        ["de → ja", ".500", ".438", "−.062", ".0499 *", "100"],
        ["de → ko", ".500", ".500", ".000", ".0500", "100"],
    ]
    assert "3 comparisons were made; 2 with p < .05, marked *." in tree.text_content()
    assert "chance alone would mark up to 0.2 on average" in tree.text_content()  # 3 times .05


def test_every_comparison_is_shown_under_the_names_of_its_runs_and_linked_from_the_summary() -> None:
    compared = [Comparison("dense", other, (Difference("de → ja", "R@1", 0.5, 0.25, 0.01, 9),)) for other in ("s", "h")]
    tree = parsed(report.page([an_evaluation(("de",), name) for name in ("dense", "s", "h")], compared))
    assert [one.text_content() for one in tree.iter("h2")] == ["dense", "s", "h", "s against dense", "h against dense"]
    heads = [[th.text_content() for th in one.findall("thead/tr/th")][1:3] for one in tables(tree, "R@1")]
    assert heads == [["dense", "s"], ["dense", "h"]]
    links = {one.text_content(): one.get("href").removeprefix("#") for one in tree.xpath("//ul/li/a")}
    assert {name: tree.get_element_by_id(place).find("h2").text_content() for name, place in links.items()} == {
        "s against dense": "s against dense",
        "h against dense": "h against dense",
    }


def test_of_a_bitext_the_accuracy_of_each_pair_is_shown_instead_of_a_matrix() -> None:
    rows = (Translations("en", "de", 0.9, 0.8, 1000), Translations("en", "ja", 0.5, 0.4, 500))
    tree = parsed(report.page([Evaluation("n", "d", "m", "f", 3000, 3000, (), translations=rows)], []))
    (shown,) = tables(tree, "accuracy@1: the translation comes first among the sentences in its language")
    assert [[one.text_content() for one in tr if one.get("class") != "bar"] for tr in shown.findall("tbody/tr")] == [
        ["English en – German de", ".850", ".900", ".800", "1,000"],
        ["English en – Japanese ja", ".450", ".500", ".400", "500"],
        ["Mean of the pairs", ".650", ".700", ".600", "1,500"],
    ]
    assert [rect.get("width") for rect in shown.iter("rect")] == ["85.00%", "45.00%", "65.00%"]
    (summary,) = tables(tree, "Mean accuracy@1 of each run, over pairs of languages")
    assert [[one.text_content() for one in tr] for tr in summary.iter("tr")] == [
        ["Run", "accuracy@1 of translations"],
        ["n", ".650"],
    ]
    assert not tree.xpath("//input[@id='intervals']"), "there is no interval to show"


def test_runs_over_a_bitext_are_compared_by_recall_at_one_first() -> None:
    run = Evaluation("n", "d", "m", "f", 2, 2, (), translations=(Translations("en", "de", 0.9, 0.8, 1),))
    differences = tuple(Difference("en → de", measure, 0.5, 0.25, 0.01, 9) for measure in MEASURES)
    tree = parsed(report.page([run, run], [Comparison("n", "n", differences)]))
    section = tree.get_element_by_id("comparison-1")
    assert [one.text_content() for one in section.iter("caption")] == ["R@1", "nDCG@10", "R@10", "R@100", "RR@10"]
    assert section.find("div/table/caption").text_content() == "R@1", "the others are folded"


def test_the_head_says_what_was_measured_when_and_with_which_version() -> None:
    tree = parsed(report.page([an_evaluation()], [], written=WRITTEN))
    facts = {term.text: value.text_content() for term, value in zip(tree.iter("dt"), tree.iter("dd"), strict=True)}
    assert facts == {
        "Data set": "data/xquad",
        "Model": "pocket-m3",
        "Fingerprint": "3f8a" * 16,
        "Documents": "2,880",
        "Questions": "14,280",
        "Seconds": "83.4",
    }
    assert tree.find(".//time").get("datetime") == "2025-03-01T09:05:00+00:00"
    assert re.search(r"2025-03-01 09:05 \+0000 · cross-lingual-rag \d+\.\d+", tree.text_content())


HOSTILE = (
    "</title></style><script src=https://evil.example/x.js>alert('&amp;')</script><img src=x onerror=\"alert(1)\">"
)


def test_text_from_outside_stays_text() -> None:
    evaluation = Evaluation(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, 1, (Cell(HOSTILE, HOSTILE, 1, values(0.5)),))
    compared = Comparison(HOSTILE, HOSTILE, (Difference(HOSTILE, "nDCG@10", 0.1, 0.2, 0.5, 3),))
    tree = parsed(report.page([evaluation, evaluation], [compared]))
    assert not list(tree.iter("script", "img", "iframe", "object", "embed", "form"))
    assert not [one for one in tree.iter() if any(name.startswith("on") for name in one.attrib)]
    assert tree.find(".//h2/bdi").text == HOSTILE
    assert tree.find("head/title").text == f"Retrieval across languages · {HOSTILE}"
    assert len(list(tree.iter("h1"))) == 1


def test_the_page_asks_for_nothing() -> None:
    text = report.page([an_evaluation()], comparisons())
    tree = parsed(text)
    assert "http:" not in text
    assert "https:" not in text
    assert not re.search(r"url\(|@import", text)
    assert not list(tree.iter("script", "link", "img"))
    assert {one.get("href")[0] for one in tree.iter("a")} == {"#"}
    assert not tree.xpath("//*[@src]")


def test_tables_have_captions_and_scopes_and_drawings_have_titles() -> None:
    tree = parsed(report.page([an_evaluation()], comparisons()))
    assert all(one.find("caption").text_content().strip() for one in tree.iter("table"))
    assert {one.get("scope") for one in tree.iter("th")} == {"col", "row"}
    assert all(one.find("title").text for one in tree.iter("svg"))
    assert tree.get("lang") == "en"


def test_nothing_measured_is_said_in_words() -> None:
    assert "No run was made." in parsed(report.page([], [])).text_content()
    tree = parsed(report.page([Evaluation("n", "d", "m", "f", 0, 0, ())], []))
    assert "No pair of languages has questions." in tree.text_content()
    assert [one.text for one in tree.iter("h3")] == ["Questions in one language, documents in another"]


def test_every_text_in_a_coloured_cell_can_be_read() -> None:
    rules = re.findall(r"\.([vd]\d+) \{ background: (#\w{6}); color: (#\w{6}) \}", report_colours.style())
    assert len(rules) == 2 * 2 * (report_colours.STEPS + 1)  # two scales, light and dark
    assert min(report_colours.contrast(ground, text) for _, ground, text in rules) >= 4.5
    assert report_colours.contrast("#ffffff", "#000000") == pytest.approx(21)
    assert report_colours.contrast("#ffffff", "#777777") == pytest.approx(4.48, abs=0.005)


def test_a_higher_value_is_always_further_from_the_page_in_lightness() -> None:
    rules = re.findall(r"\.v\d+ \{ background: (#\w{6})", report_colours.style())
    half = len(rules) // 2
    on_white = [report_colours.contrast("#ffffff", colour) for colour in rules[:half]]
    on_black = [report_colours.contrast("#000000", colour) for colour in rules[half:]]
    assert on_white == sorted(set(on_white))
    assert on_black == sorted(set(on_black))


@pytest.mark.parametrize(("value", "step"), [(0.0, "v0"), (0.5, "v20"), (1.0, "v40"), (1.0000001, "v40")])
def test_the_colour_of_a_value_is_its_place_between_zero_and_one(value: float, step: str) -> None:
    assert report_colours.value_class(value) == step


def test_the_report_replaces_an_older_one_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "out.html"
    report.write([an_evaluation(("de",), "first")], [], path)
    report.write([an_evaluation(("de",), "second")], [], path)
    assert parsed(path.read_text(encoding="utf-8")).find(".//h2").text_content() == "second"


def test_a_path_with_bytes_that_are_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    report.write([Evaluation("n", os.fsdecode(b"caf\xe9"), "m", "f", 0, 0, ())], [], path)
    assert "caf?" in path.read_text(encoding="utf-8")


def test_a_place_that_cannot_be_written_to_is_refused_before_and_after_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "out.html"):
        with pytest.raises(InputError, match=f"cannot be written to {re.escape(str(path))} .*: give --report a file"):
            report.check(path)
        with pytest.raises(InputError, match=f"cannot be written to {re.escape(str(path))} .*: give --report a file"):
            report.write([], [], path)
    report.check(tmp_path / "new" / "out.html")
    report.check(tmp_path / "file")
    assert not (tmp_path / "new").exists()


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = "--disable-background-networking --disable-component-update --disable-sync --no-first-run"
SMALL = 360
MEASURING = """<script>
const wide = [...document.querySelectorAll("body *")].filter(
  one => !one.closest(".scroll, details:not([open]), svg") && one.getBoundingClientRect().right > innerWidth + 1);
parent.document.title = [innerWidth, document.documentElement.scrollWidth, ...wide.map(one => one.tagName)].join(" ");
</script>"""

DRAWN = """<script>
const open = name => [...document.querySelectorAll(name)].filter(one => !one.closest("details:not([open])"));
document.title = JSON.stringify({
  cells: open(".heat td[class^=v]").map(one =>
    [one.className, getComputedStyle(one).backgroundColor, one.offsetWidth, one.offsetHeight]),
  bars: open("rect.top").map(one => one.getBoundingClientRect().height),
  places: Object.fromEntries(open("section").map(one => [one.id, one.offsetTop])),
});
</script>"""


def browsed(browser: str, folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *QUIET.split()]
    command += [f"--user-data-dir={folder}/profile", *words]
    return subprocess.run(command, capture_output=True, check=False, timeout=120)


@functools.cache
def starts(browser: str) -> bool:
    """Whether the browser that is installed runs here at all."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            return browsed(browser, Path(folder), "--dump-dom", "about:blank").returncode == 0
        except subprocess.TimeoutExpired:
            return False


def in_a_browser(path: Path, *options: str) -> str:
    """The page as a browser has it after it is drawn; skips where there is no browser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of these browsers is installed: {', '.join(BROWSERS)}")
    if not starts(browser):
        pytest.skip(f"{browser} does not show an empty page on this machine")
    done = browsed(browser, path.parent, *options, path.as_uri())
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode()


def test_nothing_is_wider_than_a_small_screen(tmp_path: Path) -> None:
    text = report.page([an_evaluation(FORTY[-17:], "hybrid " + "dense=1," * 20)], comparisons())
    # Without the page's policy, which forbids scripts, the measuring one can run; windows are never narrower than 500.
    text = re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", f"{MEASURING}</body>")
    frame = f'<!doctype html><title></title><iframe width="{SMALL}" height="900" srcdoc="{escape(text)}"></iframe>'
    (tmp_path / "frame.html").write_text(frame, encoding="utf-8")
    drawn = in_a_browser(tmp_path / "frame.html", "--dump-dom")
    assert parsed(drawn).find("head/title").text == f"{SMALL} {SMALL}"


def test_a_report_of_real_runs_is_drawn(tmp_path: Path, pocket: Embedder) -> None:
    dataset = beir.read(write_dataset(tmp_path / "small"))
    vectors = scoring.embed(dataset, pocket)
    runs = []
    for mode in ("dense", "sparse", "hybrid"):
        ranker = scoring.ExactRanker(dataset, vectors, Ranking(mode=mode))
        cut = truncations(dataset, vectors) if mode == "dense" else ()
        runs.append(evaluate(dataset, ranker, name=mode, model="m", fingerprint="f", truncations=cut))
    path = tmp_path / "out.html"
    report.write([run.evaluation for run in runs], [compare(runs[0], other) for other in runs[1:]], path)
    # As above, a script that measures takes the place of the policy that forbids it.
    text = re.sub(r"<meta http-equiv[^>]*>", "", path.read_text(encoding="utf-8"))
    (tmp_path / "drawn.html").write_text(text.replace("</body>", f"{DRAWN}</body>"), encoding="utf-8")
    drawn = json.loads(parsed(in_a_browser(tmp_path / "drawn.html", "--dump-dom")).find("head/title").text)
    in_light = dict(re.findall(r"\.(v\d+) \{ background: (#\w{6})", report_colours.style().partition("@media")[0]))
    assert len(drawn["cells"]) == 3 * 6  # three runs, questions in two languages over documents in three
    for name, colour, width, height in drawn["cells"]:
        assert colour == "rgb({}, {}, {})".format(*bytes.fromhex(in_light[name.split()[0]].removeprefix("#")))
        assert min(width, height) > 20
    assert drawn["bars"]
    assert all(height > 5 for height in drawn["bars"])
    tops = [drawn["places"][name] for name in ("run-1", "run-2", "run-3", "comparison-1", "comparison-2")]
    assert tops == sorted(set(tops))
