"""``report.html`` in a real browser: nothing is fetched, nothing overflows, and it does what it promises to a hand.

Skipped where there is no Chromium with its driver.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmbench.benchmark.results import RunFolder
from lmbench.report.page import write_page
from tests.report import made_run
from tests.report.made_run import CHINESE, made

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytest.importorskip("selenium")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="there is no Chromium with its driver")
MODELS = [
    made("gpt:width=64:layers=4", 9.5, parameters=2_000_000),
    made("ngram", 120.0, parameters=900),
    made("模型", 88.0, parameters=70_000),
    made("a-very-long-name-without-any-place-to-break-it-into-lines", 300.25),
    made("bert", None, pseudo_perplexity=5.0),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    quiet = ("background-networking", "component-update", "sync", "gpu", "dev-shm-usage", "extensions")
    for argument in (
        "headless=new",
        "no-sandbox",
        "no-first-run",
        "hide-scrollbars",
        *(f"disable-{name}" for name in quiet),
    ):
        options.add_argument(f"--{argument}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('browser')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module", params=["en", "zh"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp(request.param) / "run"
    tokens = CHINESE if request.param == "zh" else made_run.ENGLISH
    made_run.write_run(path, MODELS, request.param, tokens)
    kept = json.loads((path / "reader.json").read_text(encoding="utf-8"))
    own = {"tokens": list("ab cdef"), "nats": [1.0] * 7, "rank": None, "entropy": None, "top": None}
    words = {"words": ["ab", "cdef"], "starts": [0, 2]}
    kept["models"]["模型"] = [{**own, **words}] * 2  # a model with pieces of its own, and nothing but their nats
    (path / "reader.json").write_text(json.dumps(kept), encoding="utf-8")
    folder = RunFolder(path)
    for result, nats in zip(folder.read_results()[:2], (1.0, 3.0), strict=True):
        folder.write_token_nats(result.folder, np.full(len(tokens), nats))
    return write_page(path).as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Any:
    from selenium.webdriver.support.wait import WebDriverWait

    # By way of an empty page: a second visit to one address can be answered while the first still stands there, and a
    # busy machine then looks for what the new one has not yet.
    browser.get("about:blank")
    resize(browser, 1280)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(address)
    ready = "return location.href === arguments[0] && document.readyState === 'complete'"
    WebDriverWait(browser, 60).until(lambda browser: browser.execute_script(ready, address))
    return browser


def resize(browser: Any, width: int) -> None:
    sizes = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", sizes)


def texts(page: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((found) => found.textContent.trim())"
    return page.execute_script(script, selector)


def choose(page: Any, name: str, place: int) -> None:
    from selenium.webdriver.support.select import Select

    Select(page.find_element("id", name)).select_by_index(place)


def test_it_opens_without_a_complaint_and_asks_the_network_for_nothing(page: Any, address: str) -> None:
    assert [entry["message"] for entry in page.get_log("browser")] == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert {url for url in asked if not url.startswith("data:")} <= {address}


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(page: Any, width: int) -> None:
    resize(page, width)
    wide = page.execute_script(
        "const inside = (one) => one.closest('.scroll, svg, pre, select, .tokens, .skip');"
        "return [...document.querySelectorAll('body *')].filter((one) => !inside(one))"
        ".filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 99))"
    )
    assert wide == []
    assert page.execute_script("return document.documentElement.scrollWidth") == width


def test_a_click_on_a_heading_sorts(page: Any) -> None:
    headings = page.find_elements("css selector", "#ranking thead th")
    column = [heading.text for heading in headings].index("parameters")
    cells = f"#ranking tbody tr > :nth-child({column + 1})"
    headings[column].find_element("tag name", "button").click()
    rising = [int(text.replace(",", "")) for text in texts(page, cells)]
    assert rising == sorted(rising)
    assert headings[column].get_attribute("aria-sort") == "ascending"
    headings[column].find_element("tag name", "button").click()
    assert [int(text.replace(",", "")) for text in texts(page, cells)] == rising[::-1]
    assert page.execute_script("return document.querySelectorAll('#ranking [aria-sort]').length") == 1


def test_empty_cells_stay_below_however_one_sorts(page: Any) -> None:
    """9.50 < 88.00 < 120.00 as numbers, not as texts; bert has no perplexity."""
    button = page.find_element("css selector", "#ranking thead th:nth-child(2) button")
    cells = "#ranking tbody tr > :nth-child(2)"
    orders = []
    for _ in range(2):
        button.click()
        orders.append(texts(page, cells))
    assert sorted(orders) == [["300.25", "120.00", "88.00", "9.50", ""], ["9.50", "88.00", "120.00", "300.25", ""]]


def test_the_reader_follows_what_is_chosen(page: Any) -> None:
    first = texts(page, "#reader-panels .token")
    headings = texts(page, "#reader-panels h3")
    assert headings[0].startswith("gpt:width=64:layers=4")
    choose(page, "reader-sentence", 1)
    assert texts(page, "#reader-panels .token") != first
    choose(page, "reader-right", 3)
    assert texts(page, "#reader-panels h3")[1].startswith("a-very-long-name")
    page.find_element("id", "reader-next").click()  # two sentences: back to the first
    assert page.find_element("id", "reader-sentence").get_property("value") == "0"


def test_pointing_shows_rank_probability_and_alternatives(page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    choose(page, "reader-right", 2)
    tokens = page.find_elements("css selector", "#reader-panels > :first-child .token")
    ActionChains(page).move_to_element(tokens[1]).perform()
    left, right = texts(page, "#reader-panels .detail")
    # the first model has 0.5 + 1 nats there: 1.5 / ln 2 = 2.16 bits, exp(-1.5) = 0.22
    assert "2.16 bits, probability 0.22, rank 2" in left
    assert "dog" in left
    assert "0.250" in left
    assert "rank 2" in right  # the other model shows the same token


def test_a_model_with_tokens_of_its_own_is_pointed_at_alone(page: Any) -> None:
    choose(page, "reader-right", 1)
    page.find_element("id", "reader-whole").click()
    assert texts(page, "#reader-panels > :last-child .token") == [f"{token}1.4" for token in "ab␣cdef"]
    before = texts(page, "#reader-panels .detail")[0]
    page.find_elements("css selector", "#reader-panels > :last-child .token")[2].click()
    left, right = texts(page, "#reader-panels .detail")
    assert left == before
    assert "No alternatives are kept" in right


def test_pieces_are_shown_as_the_words_they_make(page: Any) -> None:
    choose(page, "reader-right", 1)
    # 2 and 5 pieces of 1 nat each, 1.44 bits: exp(-5) = 0.0067; 7 / ln 2 = 10.1 bits in two words
    assert texts(page, "#reader-panels > :last-child .token") == ["ab2.9", "cdef7.2"]
    assert "10.1 bits, 5.05 per word" in texts(page, "#reader-panels h3")[1]
    page.find_elements("css selector", "#reader-panels > :last-child .token")[1].click()
    told = texts(page, "#reader-panels > :last-child .detail")[0]
    assert "7.21 bits, probability 0.0067; in pieces: ␣ 1.44, c 1.44, d 1.44, e 1.44, f 1.44" in told


def test_the_most_different_sentences_follow_what_is_chosen(page: Any) -> None:
    better, worse = texts(page, "#different-panels > div")
    # 1 nat against 3 a token: 1.44 and 4.33 bits
    assert better.startswith("Better told by gpt:width=64:layers=4")
    assert "1.44, ngram 4.33 bits per token: 2.89 apart" in better
    assert worse.endswith("None.")
    choose(page, "different-right", 0)
    assert texts(page, "#different-panels") == ["Choose two models."]
    choose(page, "different-left", 1)
    assert "None." in texts(page, "#different-panels > div")[0]
    assert "not 模型, " in texts(page, "#different .lede")[0]


def test_the_page_prints(page: Any) -> None:
    sheet = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"paperWidth": 8.27})["data"])
    assert sheet.startswith(b"%PDF")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = page.execute_script("return getComputedStyle(document.querySelector('nav')).display")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert shown == "none"


def test_the_reader_is_walked_by_the_keyboard(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    tokens = page.find_elements("css selector", "#reader-panels > :first-child .token")
    tokens[0].click()
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert page.switch_to.active_element == tokens[1]
    assert tokens[1].get_attribute("class").endswith("chosen")


def test_the_heat_of_a_token_is_its_surprisal(page: Any) -> None:
    """0.5, 1.5, 2.5, 3.5, 4.5 nats are 0.7, 2.2, 3.6, 5.0, 6.5 bits: two bits a step."""
    tokens = page.find_elements("css selector", "#reader-panels > :first-child .token")
    assert [token.get_attribute("class").split()[1] for token in tokens] == ["h0", "h1", "h1", "h2", "h3"]


def test_chinese_is_there_in_a_font_that_has_it(page: Any, address: str) -> None:
    assert "模型" in texts(page, "#ranking tbody th")
    if "zh" in Path(address).parts[-3]:
        assert "老猫睡了" in texts(page, "#reader-sentence option")[0]
        assert page.find_element("css selector", "#reader-panels .tokens").get_attribute("lang") == "zh"


def test_paper_has_what_was_folded_away(page: Any) -> None:
    page.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert page.execute_script("return [...document.querySelectorAll('details')].every((one) => one.open)")
