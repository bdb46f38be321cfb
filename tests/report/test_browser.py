"""The report in a real browser: everything is drawn, nothing complains, it fits a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from asnn_goose.report.page import write_report

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(
    not (DRIVER and BROWSER), reason="chromium and its driver are not installed"
)


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield found
    found.quit()


@pytest.fixture
def page(driver: webdriver.Chrome, full_run: Path) -> webdriver.Chrome:
    driver.set_window_size(1280, 900)
    driver.get(write_report(full_run).as_uri())
    return driver


def test_everything_is_drawn_and_nothing_complains(page: webdriver.Chrome) -> None:
    drawn = page.execute_script(
        "return [...document.querySelectorAll('figure')].map((it) =>"
        " [it.querySelector('figcaption').textContent,"
        "  it.querySelectorAll('svg path, svg rect, svg circle').length,"
        "  it.querySelector('svg').getBoundingClientRect().width])"
    )
    titles = {title for title, _, _ in drawn}
    assert {
        *("losses, weighted", "perplexity", "learning rate", "tasks", "recalled: copy"),
        *("firing rate", "dead channels", "bits told of the teacher", "CKA with the teacher"),
        *("spikes of a sentence: blocks.0.mixer.key", "arithmetic of a token in 45 nm silicon"),
        *("nats a token by place, long.txt", "nats a token that lowering one matrix costs"),
    } <= titles
    assert all(shapes > 0 and width > 200 for _, shapes, width in drawn)
    broken = page.execute_script(
        "return [...document.querySelectorAll('svg *')].map((it) => it.outerHTML)"
        ".filter((it) => /NaN|undefined|Infinity/.test(it))"
    )
    assert broken == []
    levels = {"SEVERE", "WARNING"}
    assert [entry for entry in page.get_log("browser") if entry["level"] in levels] == []
    asked = [
        e["message"] for e in page.get_log("performance") if "requestWillBeSent" in e["message"]
    ]
    assert all("http" not in message.split('"url":')[1][:8] for message in asked)


def test_values_are_told_where_one_points(page: webdriver.Chrome) -> None:
    for title, said in (
        ("losses, weighted", "kl  1"),
        ("tasks", "± 0.05"),
        ("firing rate", "mixer.key, 0: 0.3"),
        ("spikes of a sentence: blocks.0.mixer.key", "channel"),
    ):
        figure = next(
            it
            for it in page.find_elements(By.TAG_NAME, "figure")
            if it.find_element(By.TAG_NAME, "figcaption").text == title
        )
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
        shape = figure.find_elements(By.CSS_SELECTOR, "svg rect, svg path")[0]
        ActionChains(page).move_to_element(shape).perform()
        assert said in figure.find_element(By.CSS_SELECTOR, ".tip").text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_colours(page: webdriver.Chrome, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide, ink, paper = page.execute_script(
        "const style = getComputedStyle(document.body);"
        "return [document.documentElement.scrollWidth, style.color, style.backgroundColor]"
    )
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert wide <= 360
    light, dark = (sum(map(int, c[4:-1].split(","))) for c in (paper, ink))
    assert (light > dark) is (scheme == "light")
    assert abs(light - dark) > 400


def test_it_stays_small(page: webdriver.Chrome, full_run: Path) -> None:
    assert (full_run / "report.html").stat().st_size < 100_000
