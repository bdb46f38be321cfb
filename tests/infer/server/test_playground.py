"""The page in a real browser: text streams, the raster moves, nothing complains."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from asnn_goose.infer.engine import Engine
from asnn_goose.infer.server.settings import Access

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(
    not (DRIVER and BROWSER), reason="chromium and its driver are not installed"
)

INK = """
const canvas = document.querySelector('.raster');
const copy = new OffscreenCanvas(canvas.width, canvas.height);
const pen = copy.getContext('2d', {willReadFrequently: true});
pen.drawImage(canvas, 0, 0);
const row = pen.getImageData(0, canvas.height / 4, canvas.width, 1).data;
const shades = [];
for (let x = 0; x < row.length; x += 4) shades.push(row[x]);
return shades;
"""


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield found
    found.quit()


@pytest.fixture
def page(driver: webdriver.Chrome, endless: Any) -> webdriver.Chrome:
    driver.set_window_size(1280, 900)
    driver.get(f"{endless.url}/")
    until(driver, lambda: driver.find_elements(By.CSS_SELECTOR, ".lane"))
    slide(driver, "max_tokens", 48)
    return driver


def until(driver: webdriver.Chrome, holds: Callable[[], Any]) -> None:
    WebDriverWait(driver, 60, poll_frequency=0.05).until(lambda _: holds())


def slide(driver: webdriver.Chrome, name: str, value: float) -> None:
    driver.execute_script(
        "const it = document.getElementById(arguments[0]); it.value = arguments[1];"
        "it.dispatchEvent(new Event('input'))",
        name,
        value,
    )


def status(driver: webdriver.Chrome) -> str:
    return driver.find_element(By.ID, "status").text


def say(driver: webdriver.Chrome, text: str, *, wait: bool = True) -> None:
    driver.find_element(By.ID, "said").send_keys(text + Keys.ENTER)
    until(driver, lambda: status(driver) == "Answering" or answers(driver))
    if wait:
        until(driver, lambda: status(driver) in {"Answered", "Stopped"})


def answers(driver: webdriver.Chrome) -> list[str]:
    found = driver.find_elements(By.CSS_SELECTOR, ".turn.assistant span")
    return [str(element.get_attribute("textContent")) for element in found]


def number(driver: webdriver.Chrome, name: str) -> str:
    return driver.find_element(By.CSS_SELECTOR, f"[data-of={name}]").text


def complaints(driver: webdriver.Chrome) -> list[Any]:
    return [entry for entry in driver.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]


def test_a_chat_streams_and_its_spikes_scroll(page: webdriver.Chrome) -> None:
    before = page.execute_script(INK)
    say(page, "Hello")
    assert answers(page)[0]
    raster = page.find_element(By.CSS_SELECTOR, ".raster")
    assert raster.get_attribute("data-columns") == "48"
    assert "2 layers, 48 tokens" in str(raster.get_attribute("aria-label"))
    drawn = page.execute_script(INK)
    assert len(set(before)) == 1
    assert len(set(drawn)) > 5
    # What was drawn last stands at the right, and moves to the left with the next answer.
    assert len(set(drawn[: len(drawn) // 4])) == 1
    say(page, "More")
    assert page.execute_script(INK) != drawn
    assert raster.get_attribute("data-columns") == "96"
    assert not complaints(page)


def test_the_numbers_are_told(page: webdriver.Chrome) -> None:
    say(page, "Hello")
    assert "tokens/s" in number(page, "speed")
    assert float(number(page, "additions").rstrip("K")) > 100
    assert "a dense teacher's" in number(page, "energy")
    assert number(page, "state").startswith("16.9 kB; a key-value cache of ")
    say(page, "And then?")
    said = number(page, "prompt").split()
    assert said[1] == "tokens,"
    assert 0 < int(said[2]) < int(said[0])
    page.find_element(By.CSS_SELECTOR, ".numbers summary").click()
    rows = page.find_elements(By.CSS_SELECTOR, ".matrices tbody tr")
    assert [row.find_element(By.TAG_NAME, "th").text for row in rows][:2] == [
        "mixer.receptance",
        "mixer.key",
    ]
    assert all(row.text.endswith("%") for row in rows)


def test_a_sampling_slider_decides(page: webdriver.Chrome) -> None:
    slide(page, "temperature", 0)
    said = []
    for _ in range(2):
        say(page, "Hello")
        said.append(answers(page)[-1])
        page.find_element(By.ID, "anew").click()
    assert said[0] == said[1]
    slide(page, "temperature", 2)
    say(page, "Hello")
    assert answers(page)[-1] != said[0]


def test_one_can_stop_and_go_back(
    page: webdriver.Chrome, endless: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Engine.advance

    def slowly(*given: Any, **more: Any) -> Any:
        time.sleep(0.02)
        return advance(*given, **more)

    monkeypatch.setattr(Engine, "advance", slowly)
    slide(page, "max_tokens", 1024)
    say(page, "Hello", wait=False)
    until(page, lambda: answers(page) and answers(page)[-1])
    page.find_element(By.ID, "stop").click()
    until(page, lambda: status(page) == "Stopped")
    endless.eventually(endless.is_idle)
    page.find_element(By.CSS_SELECTOR, ".turn.user button").click()
    assert not answers(page)
    assert page.find_element(By.ID, "said").get_attribute("value") == "Hello"
    assert page.switch_to.active_element.get_attribute("id") == "said"


def test_a_second_student_beside_it(page: webdriver.Chrome) -> None:
    Select(page.find_element(By.ID, "second")).select_by_value("other")
    until(page, lambda: len(page.find_elements(By.CSS_SELECTOR, ".lane")) == 2)
    say(page, "Hello")
    first, second = page.find_elements(By.CSS_SELECTOR, ".lane")
    assert len(answers(page)) == 2
    assert first.location["y"] == second.location["y"]
    assert not complaints(page)


def test_the_keyboard_reaches_everything_and_all_is_named(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "footer details summary").click()
    seen = set()
    for _ in range(40):
        page.switch_to.active_element.send_keys(Keys.TAB)
        seen.add(page.execute_script("return document.activeElement.id"))
    assert {"first", "anew", "said", "send", "temperature", "seed", "key", "system"} <= seen
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('main, header, footer')]"
        ".flatMap((part) => [...part.querySelectorAll('input, select, textarea, button, canvas')])"
        ".filter((it) => !(it.labels?.length || it.textContent.trim() || it.ariaLabel))"
        ".map((it) => it.outerHTML)"
    )
    assert unnamed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_colours(page: webdriver.Chrome, scheme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    say(page, "Hello")
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


def test_a_missing_key_is_said(driver: webdriver.Chrome, serve: Any) -> None:
    server = serve(access=Access(keys=("secret",)))
    driver.get(f"{server.url}/")
    until(driver, lambda: "no valid API key" in status(driver))
    driver.find_element(By.CSS_SELECTOR, "footer details summary").click()
    driver.find_element(By.ID, "key").send_keys("secret" + Keys.TAB)
    until(driver, lambda: driver.find_elements(By.CSS_SELECTOR, ".lane"))
    driver.get_log("browser")
