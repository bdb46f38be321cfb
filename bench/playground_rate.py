"""Tokens per second that a person sees in the playground, beside the engine by itself.

    python bench/playground_rate.py PACKED [--tokens 128] [--rounds 5] [--threads N] [--check]

The student is served on the loopback address and asked in headless Chromium; the page tells its own
rate, spikes and all. Between two answers the engine alone draws as many tokens in the same manner.
Sides take turns, figures are medians. The browser computes on the same machine. --check fails (exit
status 1) below 95 %. Needs Chromium, its driver and selenium.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.served import start
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from asnn_goose.infer.engine import Engine
from asnn_goose.infer.sampler import Drawer, Sampling

SAMPLING = Sampling(temperature=0.8, top_p=0.95)
SLIDE = (
    "const it = document.getElementById(arguments[0]); it.value = arguments[1];"
    "it.dispatchEvent(new Event('input'))"
)


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium") or shutil.which("google-chrome"))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def page_rate(driver: webdriver.Chrome) -> float:
    """Ask once; the rate that the page tells at the end."""
    driver.find_element(By.ID, "said").send_keys("Tell me about the sea." + Keys.ENTER)
    status = driver.find_element(By.ID, "status")
    wait = WebDriverWait(driver, 600, 0.2)
    wait.until(lambda _: status.text == "Answering")
    wait.until(lambda _: status.text == "Answered")
    return float(driver.find_element(By.CSS_SELECTOR, "[data-of=speed]").text.split()[0])


def own_rate(engine: Engine, tokens: int) -> float:
    """The engine's, drawing included."""
    state, drawer, token = engine.start(), Drawer(SAMPLING, seed=0, native=True), 101
    engine.advance([state], [[101] * 8])
    started = time.perf_counter()
    for _ in range(tokens):
        token = drawer.draw(engine.advance([state], [[token]])[0])
    return tokens / (time.perf_counter() - started)


def main() -> int:
    """Carry out what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("packed")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    engine = Engine.load(options.packed, threads=options.threads)
    server, rates = start(options.packed, options.threads, 4), list[tuple[float, float]]()
    try:
        with browser() as driver:
            driver.get(f"http://127.0.0.1:{server.port}/")
            WebDriverWait(driver, 60).until(
                lambda _: driver.find_elements(By.CSS_SELECTOR, ".lane")
            )
            settings = {"max_tokens": options.tokens, "temperature": 0.8, "top_p": 0.95}
            for name, value in settings.items():
                driver.execute_script(SLIDE, name, value)
            for _ in range(options.rounds):
                rates.append((page_rate(driver), own_rate(engine, options.tokens)))
                print(f"page {rates[-1][0]:.1f}, engine {rates[-1][1]:.1f} tokens/s", flush=True)
    finally:
        server.process.terminate()
        server.process.wait()
    share = statistics.median(page / own for page, own in rates)
    print(f"the page shows {share:.2f} of the engine's rate")
    return int(options.check and share < 0.95)


if __name__ == "__main__":
    sys.exit(main())
